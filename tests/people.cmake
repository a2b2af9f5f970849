sat_test(test_say SOURCES unit/test_say.c NEEDS sat_say)

# What helps people: reasons, refusals, locks that say who holds them.
if(TARGET sat_rim)
	sat_test(test_lock SOURCES unit/test_lock.c NEEDS sat_rim)
endif()
if(TARGET sat_replica)
	sat_test(test_refusal SOURCES replica/test_refusal.c NEEDS sat_replica)
endif()
