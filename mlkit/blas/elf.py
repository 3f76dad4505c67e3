"""A shared object without code: only the list of the libraries that it needs, by absolute path.

Opened with RTLD_LOCAL and RTLD_DEEPBIND it gives those libraries one private search scope, in their order: MKL without
the global symbols that its own loader libmkl_rt leaves behind, or a LAPACK over any chosen BLAS. No compiler is needed.
Source of the layout: System V ABI, chapters 4 and 5; `man 5 elf`.
"""

import platform
import struct
import sys
from collections.abc import Sequence

MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "loongarch64": 258, "ppc64le": 21}  # 64-bit little-endian

HEADER, PROGRAM_HEADER, SYMBOL, DYNAMIC = 64, 56, 24, 16  # sizes in bytes
PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME = 0, 1, 4, 5, 6, 10, 11, 14


def supported() -> bool:
    """Whether a stub can be written for this machine."""
    return sys.platform == "linux" and platform.machine() in MACHINES


def stub(needed: Sequence[str], soname: str = "libmlkit-stub.so") -> bytes:
    """The bytes of a shared object that needs the libraries at the paths `needed`, in that order."""
    strings, starts = b"\0", []
    for text in (*needed, soname):
        starts.append(len(strings))
        strings += text.encode() + b"\0"
    strings += bytes(-len(strings) % 8)
    symbols = HEADER + 3 * PROGRAM_HEADER
    hashes = symbols + SYMBOL  # one symbol, the null one
    names = hashes + 24
    table = names + len(strings)
    entries = [(DT_NEEDED, start) for start in starts[:-1]]
    entries += [(DT_SONAME, starts[-1]), (DT_HASH, hashes), (DT_STRTAB, names), (DT_SYMTAB, symbols)]
    entries += [(DT_STRSZ, len(strings)), (DT_SYMENT, SYMBOL), (DT_NULL, 0)]
    end = table + DYNAMIC * len(entries)
    programs = _program(PT_LOAD, 0, end, 0x10000) + _program(PT_DYNAMIC, table, end - table, 8)
    programs += _program(PT_GNU_STACK, 0, 0, 16)  # without it the stack would become executable
    hash_table = struct.pack("<IIII", 1, 1, 0, 0) + bytes(8)  # one bucket, one chain, both empty
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    return _header() + programs + bytes(SYMBOL) + hash_table + strings + dynamic


def _header() -> bytes:
    magic = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bit, little-endian, version 1
    shared_object, machine = 3, MACHINES[platform.machine()]
    fields = (shared_object, machine, 1, 0, HEADER, 0, 0, HEADER, PROGRAM_HEADER, 3, 0, 0, 0)
    return magic + struct.pack("<HHIQQQIHHHHHH", *fields)


def _program(kind: int, offset: int, size: int, alignment: int) -> bytes:
    read_write = 6
    return struct.pack("<IIQQQQQQ", kind, read_write, offset, offset, offset, size, size, alignment)
