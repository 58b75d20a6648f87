complete -c lsmaps -s c -l comm -d 'Processes of this name, which may hold *, ? and []' -r
complete -c lsmaps -l tid -d 'What this thread of the one PID sees, for processes whose main thread has exited' -r
complete -c lsmaps -s a -l addr -d 'The mapping that holds this address, and where in the file that is' -r
complete -c lsmaps -l range -d 'Mappings that have an address in START-END' -r
complete -c lsmaps -s f -l file -d 'Mappings of files of this name, or path if it has a /. May hold *, ? and []' -r
complete -c lsmaps -s p -l perms -d 'Mappings with these permissions: wx has both at least, r-xp is just that' -r
complete -c lsmaps -s o -l output -d 'Columns to show, or with + to show besides. See --list-columns' -r
complete -c lsmaps -l format -d 'How to write: table, raw, json, jsonl (a line a mapping) or maps (as /proc/PID/maps)' -r -f -a "table\t''
raw\t''
json\t''
jsonl\t''
maps\t''"
complete -c lsmaps -l color -d 'When to colour: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c lsmaps -s w -l watch -d 'Look every so many seconds, and show what changed. [1]' -r
complete -c lsmaps -s d -l diff -d 'What changed since --record wrote FILE' -r -F
complete -c lsmaps -l record -d 'Write all that is known to FILE' -r -F
complete -c lsmaps -l from-file -d 'List what --record wrote' -r -F
complete -c lsmaps -l consistent -d 'Read up to so often, until the listing is of one moment. [10]' -r
complete -c lsmaps -l source -d 'What to read from: auto, lockless, query (PROCMAP_QUERY) or maps' -r -f -a "auto\t''
lockless\t''
query\t''
maps\t''"
complete -c lsmaps -s A -l all -d 'All processes'
complete -c lsmaps -s x -l exec -d 'Executable mappings'
complete -c lsmaps -l anon -d 'Mappings that map no file'
complete -c lsmaps -l output-all -d 'All columns'
complete -c lsmaps -s H -l list-columns -d 'List the columns, and what they show'
complete -c lsmaps -s n -l noheadings -d 'No headings, and no last line'
complete -c lsmaps -s r -l raw -d 'Fields parted by one space, odd bytes as \\xHH, - for nothing. Short for --format=raw'
complete -c lsmaps -s J -l json -d 'JSON. Short for --format=json'
complete -c lsmaps -s b -l bytes -d 'Sizes in bytes'
complete -c lsmaps -s u -l notruncate -d 'Do not cut names to fit the terminal'
complete -c lsmaps -s t -l tree -d 'Grouped by file'
complete -c lsmaps -s s -l summary -d 'Totals by kind, and a picture of the address space'
complete -c lsmaps -l count -d 'The number of mappings alone'
complete -c lsmaps -s h -d 'A help that fits a screen'
complete -c lsmaps -l help -d 'This help'
complete -c lsmaps -s V -l version -d 'Print version'
