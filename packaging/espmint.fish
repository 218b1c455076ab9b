# Completion of espmint for fish: the words of the command line, then ports and files.

function __espmint_ports
    for port in /dev/ttyUSB* /dev/ttyACM*
        echo $port
    end
end

set -l nouns board flash image keys device ca audit sim
set -l verbs run prepare init demo doctor $nouns

complete -c espmint -n "not __fish_seen_subcommand_from $verbs" -f -a "$verbs"
complete -c espmint -n "__fish_seen_subcommand_from board; and not __fish_seen_subcommand_from info list reset sim" -f -a "info list reset"
complete -c espmint -n "__fish_seen_subcommand_from flash; and not __fish_seen_subcommand_from write verify read erase" -f -a "write verify read erase"
complete -c espmint -n "__fish_seen_subcommand_from image; and not __fish_seen_subcommand_from spiffs partitions app" -f -a "spiffs partitions app"
complete -c espmint -n "__fish_seen_subcommand_from keys; and not __fish_seen_subcommand_from import status export release retire" -f -a "import status export release retire"
complete -c espmint -n "__fish_seen_subcommand_from device; and not __fish_seen_subcommand_from list show export" -f -a "list show export"
complete -c espmint -n "__fish_seen_subcommand_from ca; and not __fish_seen_subcommand_from init show" -f -a "init show"
complete -c espmint -n "__fish_seen_subcommand_from audit; and not __fish_seen_subcommand_from verify" -f -a verify
complete -c espmint -n "__fish_seen_subcommand_from sim; and not __fish_seen_subcommand_from board firmware" -f -a "board firmware"

complete -c espmint -l help -d "What this command takes"
complete -c espmint -l json -d "One JSON object a line"
complete -c espmint -s q -l quiet -d "Only results and faults"
complete -c espmint -s v -l verbose -d "Every step"
complete -c espmint -l state -r -d "Folder of ledgers and CA"
complete -c espmint -s p -l port -x -a "(__espmint_ports)" -d "Serial port"
complete -c espmint -s b -l baud -x -a "115200 460800 921600 1500000 2000000 3000000" -d "Speed once connected"
complete -c espmint -s c -l chip -x -a "auto esp32 esp32s2 esp32s3 esp32c2 esp32c3 esp32c5 esp32c6 esp32c61 esp32h2 esp32p4 esp8266" -d "Chip"
complete -c espmint -n "__fish_seen_subcommand_from run prepare" -l csv-file -r -d "Keys to hand out, one row a board"
complete -c espmint -n "__fish_seen_subcommand_from run prepare" -l provisioned -x -a "hold erase" -d "A board with an unknown key"
complete -c espmint -n "__fish_seen_subcommand_from run prepare" -l trial -d "A rehearsal with keys of its own"
complete -c espmint -s f -l firmware -r -d "Build folder, merged image or app"
