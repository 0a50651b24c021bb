#!/bin/sh
# Stands in for the delivery program of a package for virtual domains: the mailbox is what its
# argument is set to, at $HOST, below the folder of the account. Ends with 0, 100 or 111 as they do.
small() { printf %s "$1" | tr '[:upper:]' '[:lower:]'; }
folder=domains/$(small "$HOST")/$(small "$1")
if [ -e "$folder/moving" ]; then echo "The mailbox is being moved. (#4.2.1)"; exit 111; fi
if [ ! -d "$folder/new" ]; then echo "No mailbox here by that name. (#5.1.1)"; exit 100; fi
name=$(date +%s).$$.test
{ printf '%s%s' "$RPLINE" "$DTLINE"; cat; } > "$folder/tmp/$name" || exit 111
mv "$folder/tmp/$name" "$folder/new/$name" || exit 111
