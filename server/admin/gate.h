/* gate.h - how a command reaches the data: through the running server's Unix
 * socket when there is one, else straight to the files under DIR/lock.
 *
 * Blocking; for commands, never for the server's loop. One request at a time.
 */
#ifndef SAT_ADMIN_GATE_H
#define SAT_ADMIN_GATE_H

#include <jansson.h>

#include "common/base.h"

enum { SAT_ADMIN_GREETING_MS = 5000 };

struct sat_gate;

/* SAT_E_NOTFOUND: dir holds no server data. SAT_E_BUSY: somebody holds the
 * lock but does not answer within 5 s; err->msg names the process. */
int sat_gate_open(const char *dir, struct sat_gate **ret,
		  struct sat_err *err) SAT_MUST_CHECK;
void sat_gate_close(struct sat_gate *g); /* NULL is fine */

/* Wait until nobody holds the folder's lock; false when somebody still does
 * after wait_ms. */
bool sat_gate_is_free(const char *dir, int wait_ms);

/* Is there a running server behind it? */
bool sat_gate_is_live(const struct sat_gate *g);

/* Ask for one operation; args is taken (may be NULL), *ret is the result, a
 * new reference. A refusal is the rc and sentence of the operation. */
int sat_gate_call(struct sat_gate *g, const char *op, json_t *args,
		  json_t **ret, struct sat_err *err) SAT_MUST_CHECK;

#endif
