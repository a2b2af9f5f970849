#include "server/commit/wipe.h"

#include <stdio.h>

#include "server/commit/core.h"

static void wipe_key(uint32_t replica, char out[32])
{
	(void)snprintf(out, 32, "wipe:%lu", (unsigned long)replica);
}

int sat_wipe_order(struct sat_store *s, uint32_t replica, bool discard,
		   struct sat_err *err)
{
	char key[32];

	wipe_key(replica, key);
	return sat_setting_put_u64(s, key, discard, err);
}

int sat_wipe_discards(struct sat_store *s, uint32_t replica, bool *ret,
		      struct sat_err *err)
{
	uint64_t v = 0;
	char key[32];
	int rc;

	wipe_key(replica, key);
	rc = sat_setting_get_u64(s, key, &v, err);
	*ret = rc == SAT_OK && v != 0;
	return rc == SAT_E_NOTFOUND ? SAT_OK : rc;
}

int sat_engine_wiped(struct sat_engine *e, uint32_t replica,
		     struct sat_err *err)
{
	struct sat_device d;
	char detail[40];
	int rc;

	SAT_ASSERT(e->in_group);
	rc = sat_store_device_get(e->store, replica, &d, err);
	if (rc != SAT_OK || d.state != SAT_DEVICE_WIPING)
		return rc;
	d.state = SAT_DEVICE_REVOKED;
	rc = sat_store_device_put(e->store, &d, err);
	(void)snprintf(detail, sizeof detail, "{\"device\":%lu}",
		       (unsigned long)replica);
	if (rc == SAT_OK)
		rc = sat_store_audit(e->store, e->now_ms, "server",
				     "device wiped", sat_slice_str(detail),
				     err);
	return rc == SAT_OK ? sat_engine_rights_changed(e, err) : rc;
}
