#include "mgmt/console/commands.h"

#include <string.h>

#include "guestlib/heap.h"
#include "guestlib/tsc.h"
#include "mgmt/console/json.h"
#include "mgmt/console/log.h"
#include "mgmt/console/show.h"
#include "mgmt/console/terminal.h"
#include "mgmt/domain/domain.h"
#include "mgmt/power.h"
#include "mgmt/text.h"

#define SHUTDOWN_TIMEOUT_NS (30 * NS_PER_S)

struct command {
    const char *name;
    const char *argument; /* what it wants: "NAME", "FILE"; NULL: nothing */
    bool optional;
    const char *help;
    void (*run)(const struct request *request);
};

static void run_help(const struct request *request);

/* --- Commands that act on one guest ------------------------------------------------------------
 */

static struct domain *find(const struct request *request) {
    struct domain *d = domain_find(request->argument);
    if (!d)
        show_error(request, "there is no guest named '%s'; `list` shows all", request->argument);
    return d;
}

static void answer(const struct request *request, bool good, const struct domain_error *error) {
    if (!good)
        show_error(request, "%s", error->text);
    else if (request->json)
        show_done(request);
}

static void act(const struct request *request,
                bool (*action)(struct domain *d, struct domain_error *error)) {
    struct domain *d = find(request);
    struct domain_error error = {""};
    if (d)
        answer(request, action(d, &error), &error);
}

static void run_create(const struct request *request) {
    struct domain_error error = {""};
    struct domain *d = domain_define(request->argument, &error);
    answer(request, d && domain_start(d, &error), &error);
}

static void run_start(const struct request *request) {
    act(request, domain_start);
}

static void run_pause(const struct request *request) {
    act(request, domain_pause);
}

static void run_resume(const struct request *request) {
    act(request, domain_resume);
}

static void run_save(const struct request *request) {
    act(request, domain_save);
}

static void run_restore(const struct request *request) {
    act(request, domain_restore);
}

static void run_destroy(const struct request *request) {
    act(request, domain_destroy);
}

static void run_shutdown(const struct request *request) {
    struct domain *d = find(request);
    struct domain_error error = {""};
    if (d)
        answer(request, domain_shutdown(d, SHUTDOWN_TIMEOUT_NS, &error), &error);
}

static void run_console(const struct request *request) {
    struct domain *d = find(request);
    if (!d)
        return;
    if (!d->definition.consoles)
        show_error(request, "guest %s has no console; add <console/> to its <devices>",
                   d->definition.name);
    else if (request->json)
        show_error(request, "a console is for people; `console` has no --json");
    else
        terminal_attach(&d->console, d->definition.name);
}

static void run_info(const struct request *request) {
    struct domain *d = find(request);
    if (d)
        show_info(request, d);
}

static void run_caps(const struct request *request) {
    struct domain *d = request->argument[0] ? find(request) : NULL;
    if (d || !request->argument[0])
        show_caps(request, d);
}

/* --- Commands that act on the host -------------------------------------------------------------
 */

static void run_poweroff(const struct request *request) {
    if (request->json)
        show_done(request);
    power_down(POWER_OFF);
}

static void run_reboot(const struct request *request) {
    if (request->json)
        show_done(request);
    power_down(POWER_RESET);
}

static const struct command commands[] = {
    {"help", NULL, false, "this list", run_help},
    {"list", NULL, false, "all guests", show_list},
    {"info", "NAME", false, "everything about one guest", run_info},
    {"console", "NAME", false, "attach to a guest's console; Ctrl-] leaves", run_console},
    {"create", "FILE", false, "read a definition from the boot archive and start it", run_create},
    {"start", "NAME", false, "start a guest that is off", run_start},
    {"pause", "NAME", false, "stop a guest where it is", run_pause},
    {"resume", "NAME", false, "let it go on", run_resume},
    {"save", "NAME", false, "write a guest to its checkpoint disk and end it", run_save},
    {"restore", "NAME", false, "let a guest go on from there", run_restore},
    {"shutdown", "NAME", false, "ask a guest to end; destroyed after 30 s", run_shutdown},
    {"destroy", "NAME", false, "end a guest now", run_destroy},
    {"caps", "[NAME]", true, "capabilities of mgmt, or those held on a guest", run_caps},
    {"mem", NULL, false, "memory of the host", show_mem},
    {"cpu", NULL, false, "processor time, and hv's counters", show_cpu},
    {"log", NULL, false, "hv's log and the host's", show_log},
    {"poweroff", NULL, false, "shut all guests down, switch off", run_poweroff},
    {"reboot", NULL, false, "shut all guests down, reset", run_reboot},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void run_help(const struct request *request) {
    struct json j;
    if (request->json) {
        show_begin(request, &j);
        json_array(&j, "commands");
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        if (request->json)
            json_string(&j, NULL, c->name);
        else
            terminal_print("  %-9s %-7s %s\n", c->name, c->argument ? c->argument : "", c->help);
    }
    if (request->json) {
        json_array_end(&j);
        json_end(&j);
    } else {
        terminal_print("--json after a command: one framed line for programs\n");
    }
}

static const struct command *lookup(const char *name) {
    for (unsigned i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

void command_execute(char *line) {
    struct request request = {.command = "", .argument = ""};
    const char **next[] = {&request.command, &request.argument};
    unsigned words = 0;
    char *rest;
    for (char *word = strtok_r(line, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (strcmp(word, "--json") == 0)
            request.json = true;
        else if (words++ < 2)
            *next[words - 1] = word;
    }
    if (words == 0)
        return;
    const struct command *command = lookup(request.command);
    if (!command)
        show_error(&request, "there is no command '%s'; `help` lists them", request.command);
    else if (words > (command->argument ? 2 : 1))
        show_error(&request, "too many words; it is `%s%s%s`", command->name,
                   command->argument ? " " : "", command->argument ? command->argument : "");
    else if (command->argument && !command->optional && words < 2)
        show_error(&request, "it is `%s %s`", command->name, command->argument);
    else
        command->run(&request);
}
