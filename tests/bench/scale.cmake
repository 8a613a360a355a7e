# Programs and tests of scale and overload; the others of this folder are in CMakeLists.txt.
function(assent_scale_program name)
  add_executable(scale_${name} ${CMAKE_SOURCE_DIR}/tests/bench/scale_${name}.c)
  target_link_libraries(scale_${name} PRIVATE assent_flags ${ARGN})
  set_target_properties(scale_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()

assent_scale_program(log assent_coord_core assent_part_core)
assent_scale_program(peer assent_api)
assent_scale_program(load assent_base)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
function(assent_scale_test name)
  add_test(NAME bench.scale_${name}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/bench/test_scale.py
      $<TARGET_FILE_DIR:assentd> ${CMAKE_BINARY_DIR}/tests ${ARGN})
  set_tests_properties(bench.scale_${name} PROPERTIES TIMEOUT 300 LABELS bench RUN_SERIAL ON
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endfunction()

assent_scale_test(restart restart_of_a_long_log what_ended_is_known_after_a_restart)
assent_scale_test(slow a_participant_that_hangs a_participant_that_crawls)
assent_scale_test(erase erasing_does_not_pause)
assent_scale_test(size transactions_are_small many_participants)
