# bash completion for mlkit

_mlkit_libraries() {
    mlkit blas list --json 2>/dev/null | sed -n 's/^    "name": "\(.*\)",$/\1/p'
}

_mlkit() {
    local current previous command i
    current=${COMP_WORDS[COMP_CWORD]}
    previous=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            bench | blas | run | train | predict | serve | model | trace) command=${COMP_WORDS[i]} && break ;;
        esac
    done
    if [[ $command == run || $command == trace ]]; then
        for ((i++; i < COMP_CWORD; i++)); do
            if [[ ${COMP_WORDS[i]} == -- ]]; then
                _command_offset $((i + 1))
                return
            fi
        done
    fi
    case $previous in
        --blas | info)
            mapfile -t COMPREPLY < <(compgen -W "$(_mlkit_libraries) system" -f -- "$current")
            return
            ;;
        --only)
            mapfile -t COMPREPLY < <(compgen -W "digits views fashion" -- "$current")
            return
            ;;
        --json)
            [[ $command == bench ]] && mapfile -t COMPREPLY < <(compgen -f -- "$current") && return
            ;;
        --data | --page | --timeline | --junit)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        --out | --plots)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        --threads | --epochs | --seed | --host | --port | --largest | --most | --rounds | --memory) return ;;
    esac
    local words
    case $command in
        bench)
            words="replay deepbench gemm layers train 2026 isa compare --help --blas --threads --only --epochs --seed --quick --json
                --rounds --page --plots --sets --most --memory"
            ;;
        blas) words="list info verify tune doctor --help --json --all --cases --junit --blas --threads --rounds --out" ;;
        trace) words="--help --out --timeline --" ;;
        run) words="--help --blas --threads --" ;;
        train) words="lecture digits images spam speech go text draw detect --help --data --out --epochs --seed --blas --threads --resume" ;;
        predict)
            mapfile -t COMPREPLY < <(compgen -W "--help --json --blas" -f -- "$current")
            return
            ;;
        serve)
            mapfile -t COMPREPLY < <(compgen -W "--help --host --port --largest --most --blas --threads" -f -- "$current")
            return
            ;;
        model)
            mapfile -t COMPREPLY < <(compgen -W "info card rebuild --help --data --blas --json" -f -- "$current")
            return
            ;;
        *) words="bench trace train predict serve model blas run --help --version --debug" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _mlkit mlkit
