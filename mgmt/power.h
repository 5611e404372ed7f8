/* The host's orderly end. */
#pragma once

enum power_end { POWER_OFF, POWER_RESET };

/* Call whenever a domain has changed its state. */
void power_check(void);

/* Shuts all guests down (destroys those that take longer than 20 s), then switches off or resets.
 * Returns at once. */
void power_down(enum power_end end);
