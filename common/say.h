/* say.h - one sentence, in the language of whoever reads it.
 *
 * Programs think, log and talk to each other in English. What a person reads
 * passes through here on its way out: a table of pairs, keyed by the English,
 * is the one place that knows the other language. The key is a printf format,
 * so that a sentence which was put together elsewhere - in another process
 * even - is found again by its pattern. Log lines and --json never come here.
 *
 * The language is set once, before a second thread exists.
 */
#ifndef SAT_SAY_H
#define SAT_SAY_H

#include <stdio.h>

#include "common/catalogue.h"

enum { SAT_SAY_BYTES = 1024 };

struct sat_say_pair {
	const char *en, *zh;
};

/* say_*.c: what this program may say. Ends with a pair of NULLs. */
extern const struct sat_say_pair sat_say_basics[];
extern const struct sat_say_pair sat_say_device[];
extern const struct sat_say_pair sat_say_server[];
extern const struct sat_say_pair sat_say_commands[];
extern const struct sat_say_pair *const sat_say_all[];
extern const size_t sat_say_all_count;

/* Is it a word for Chinese, as in LANG or --lang? NULL is none. */
bool sat_lang_is_chinese(const char *word);
/* What LC_ALL, LC_MESSAGES, LANG ask for, as the C library reads them. */
enum sat_lang sat_lang_of_environment(void);

/* The language of this program; English until it is set. */
void sat_say_speak(enum sat_lang lang);
enum sat_lang sat_say_lang(void);

/* The text in the language of this program; may be a format. What the table
 * lacks stays as it is. */
const char *sat_say(const char *en) __attribute__((format_arg(1)));

/* A finished sentence, such as sat_err.msg, in the language of this program.
 * What no pattern fits is led in by one that says what to do with it. Returns
 * out, or text itself when there is nothing to change. */
const char *sat_say_text(const char *text, char *out, size_t out_bytes);

/* As sat_say_text, but false, and nothing written, when no pattern fits. */
bool sat_say_find(const char *text, char *out, size_t out_bytes);

#endif
