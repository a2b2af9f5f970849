/* The CAs of the running server. The loop thread replaces them, the committer
 * signs with them: everything here is under ca_lock. */
#include "server/sync/run.h"

static int put(struct sat_buf *to, struct sat_slice from)
{
	if (to->base != NULL)
		sat_secret_wipe(to->base, to->cap);
	sat_buf_clear(to);
	return sat_buf_append(to, from.ptr, from.len);
}

int sat_server_ca_put(struct sat_server *s, const struct sat_server_ca *ca,
		      struct sat_err *err)
{
	int rc = SAT_OK;

	uv_mutex_lock(&s->ca_lock);
	if (put(&s->ca_cert, ca->sign.cert_pem) != SAT_OK ||
	    put(&s->ca_key, ca->sign.key_pem) != SAT_OK ||
	    put(&s->ca_told, ca->told.len > 0 ? ca->told : ca->sign.cert_pem) !=
		    SAT_OK)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "ca", "out of memory");
	s->ca_no = ca->no;
	s->ca_rolling = ca->rolling;
	uv_mutex_unlock(&s->ca_lock);
	return rc;
}

bool sat_server_ca_rolling(struct sat_server *s, uint64_t *ret_no)
{
	bool rolling;

	uv_mutex_lock(&s->ca_lock);
	*ret_no = s->ca_no;
	rolling = s->ca_rolling;
	uv_mutex_unlock(&s->ca_lock);
	return rolling;
}

int sat_server_ca_sign(struct sat_server *s, struct sat_slice csr,
		       const struct sat_device *d, int64_t now_ms,
		       struct sat_buf *ret_pem, struct sat_buf *ret_told,
		       struct sat_err *err)
{
	struct sat_identity who = { .replica = d->replica, .user = d->user };
	struct sat_ca ca;
	struct sat_slice told;
	struct sat_buf der;
	int rc;

	sat_buf_init(&der, SAT_PEM_BYTES_MAX);
	uv_mutex_lock(&s->ca_lock);
	ca = (struct sat_ca){ .cert_pem = sat_buf_peek(&s->ca_cert),
			      .key_pem = sat_buf_peek(&s->ca_key) };
	told = sat_buf_peek(&s->ca_told);
	rc = sat_pki_device_cert(ca, csr, &who, now_ms, &der, err);
	if (rc == SAT_OK && sat_buf_append(ret_told, told.ptr, told.len) != 0)
		rc = sat_err_set(err, SAT_E_NOMEM, 0, "ca", "out of memory");
	uv_mutex_unlock(&s->ca_lock);
	if (rc == SAT_OK)
		rc = sat_pki_cert_to_pem(sat_buf_peek(&der), ret_pem, err);
	sat_buf_fini(&der);
	return rc;
}
