# fish completion for mlkit

function __mlkit_libraries
    mlkit blas list --json 2>/dev/null | string replace -rf '^    "name": "(.*)",$' '$1'
    echo system
end

complete -c mlkit -f -n __fish_use_subcommand -a bench -d "train the same networks under every BLAS, side by side"
complete -c mlkit -f -n __fish_use_subcommand -a train -d "train a worked case study"
complete -c mlkit -f -n __fish_use_subcommand -a predict -d "what a saved model says of new data"
complete -c mlkit -f -n __fish_use_subcommand -a serve -d "a saved model answers over HTTP"
complete -c mlkit -f -n __fish_use_subcommand -a model -d "what a model file says of itself, and whether it can be made again"
complete -c mlkit -f -n __fish_use_subcommand -a blas -d "the BLAS libraries of this machine"
complete -c mlkit -f -n __fish_use_subcommand -a run -d "run any program on a chosen BLAS"
complete -c mlkit -f -n __fish_use_subcommand -l version -d "show the version"
complete -c mlkit -f -n __fish_use_subcommand -l debug -d "show the traceback of an error"
complete -c mlkit -f -s h -l help -d "show a help message"

complete -c mlkit -f -n "__fish_seen_subcommand_from bench run train predict serve model" -l blas -x -a "(__mlkit_libraries)" -d "the library"
complete -c mlkit -f -n "__fish_seen_subcommand_from bench run train serve" -l threads -x -d "how many threads"
complete -c mlkit -f -n "__fish_seen_subcommand_from bench" -l only -x -a "digits views fashion" -d "only these workloads"
complete -c mlkit -f -n "__fish_seen_subcommand_from bench train" -l epochs -x -d "passes over the data"
complete -c mlkit -f -n "__fish_seen_subcommand_from bench train" -l seed -x -d "of weights and batches"
complete -c mlkit -f -n "__fish_seen_subcommand_from bench" -l quick -d "a quarter of the steps"
complete -c mlkit -n "__fish_seen_subcommand_from bench" -l json -r -d "write everything that was measured"
complete -c mlkit -f -n "__fish_seen_subcommand_from train" -a "lecture digits images spam speech go text draw detect"
complete -c mlkit -n "__fish_seen_subcommand_from train" -l out -x -a "(__fish_complete_directories)" -d "where page, model and log go"
complete -c mlkit -f -n "__fish_seen_subcommand_from train" -l resume -d "go on from the checkpoint"
complete -c mlkit -n "__fish_seen_subcommand_from train model" -l data -r -d "your own"
complete -c mlkit -f -n "__fish_seen_subcommand_from serve" -l host -x -d "where to listen"
complete -c mlkit -f -n "__fish_seen_subcommand_from serve" -l port -x -d "8000 by default"
complete -c mlkit -f -n "__fish_seen_subcommand_from serve" -l largest -x -d "bytes of a request"
complete -c mlkit -f -n "__fish_seen_subcommand_from serve" -l most -x -d "requests under way"
complete -c mlkit -n "__fish_seen_subcommand_from model" -a "info card rebuild"
complete -c mlkit -f -n "__fish_seen_subcommand_from predict model" -l json -d "a JSON object for each row"
complete -c mlkit -f -n "__fish_seen_subcommand_from blas" -a "list info doctor"
complete -c mlkit -f -n "__fish_seen_subcommand_from info" -a "(__mlkit_libraries)"
complete -c mlkit -f -n "__fish_seen_subcommand_from blas" -l json -d "as JSON"
complete -c mlkit -n "__fish_seen_subcommand_from run" -x -a "(__fish_complete_subcommand)"
