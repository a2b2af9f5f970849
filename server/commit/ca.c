#include "server/commit/ca.h"

#include <stdio.h>

#include "server/commit/core.h"

static void ca_key(uint32_t replica, char out[32])
{
	(void)snprintf(out, 32, "ca:%lu", (unsigned long)replica);
}

int sat_ca_last(struct sat_store *s, uint32_t replica, uint64_t *ret,
		struct sat_err *err)
{
	char key[32];
	int rc;

	*ret = 0;
	ca_key(replica, key);
	rc = sat_setting_get_u64(s, key, ret, err);
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

int sat_ca_shown(struct sat_store *s, uint32_t replica, uint64_t ca,
		 struct sat_err *err)
{
	uint64_t last;
	char key[32];
	int rc = sat_ca_last(s, replica, &last, err);

	if (rc != SAT_OK || last == ca)
		return rc;
	ca_key(replica, key);
	return sat_setting_put_u64(s, key, ca, err);
}
