/* What can be typed at the host console. docs/operations.md describes the commands, docs/json.md
 * what they print with --json. */
#pragma once

/* Executes one line; changes it. */
void command_execute(char *line);
