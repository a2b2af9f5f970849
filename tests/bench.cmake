# Floors for tests/bench/run; the benchmark itself is no test. How capture is
# measured is shared with test_replica_cost.
add_library(bench_capture_cost STATIC bench/capture_cost.c)
target_link_libraries(bench_capture_cost PUBLIC sat_flags PkgConfig::SQLITE)
add_executable(bench_floor bench/floor.c)
target_link_libraries(bench_floor PRIVATE sat_test_flags bench_capture_cost
	OpenSSL::SSL PkgConfig::SQLITE PkgConfig::ZSTD)
