"""What asv measures: $MLKIT_BLAS and $MLKIT_THREADS choose the library, so that every library is a line beside the others."""
