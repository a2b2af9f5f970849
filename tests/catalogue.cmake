# The catalogue and the text forms of values.
sat_test(test_text SOURCES unit/test_text.c NEEDS sat_model)
sat_test(test_text_json SOURCES unit/test_text_json.c NEEDS sat_model)
sat_test(test_catalogue SOURCES unit/test_catalogue.c NEEDS sat_catalogue)
sat_test(test_catalogue_load
	SOURCES unit/test_catalogue_load.c unit/catalogue_small.c
	NEEDS sat_catalogue)
sat_test(test_catalogue_refuse
	SOURCES unit/test_catalogue_refuse.c unit/catalogue_small.c
	NEEDS sat_catalogue)
sat_test(test_catalogue_figures
	SOURCES unit/test_catalogue_figures.c unit/catalogue_small.c
	NEEDS sat_catalogue)
sat_test(test_catalogue_check
	SOURCES unit/test_catalogue_check.c unit/catalogue_small.c
	NEEDS sat_catalogue)
# Counts allocations in our own objects; the JSON library's go through its hook.
sat_test(test_catalogue_memory
	SOURCES unit/test_catalogue_memory.c unit/catalogue_small.c
	NEEDS sat_catalogue)
target_link_options(test_catalogue_memory PRIVATE
	-Wl,--wrap=malloc -Wl,--wrap=calloc)
