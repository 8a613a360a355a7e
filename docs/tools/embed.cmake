# A file as an array of bytes in a program.
#
# Included: assent_embed(TARGET FILE SYMBOL) adds to TARGET
#   const unsigned char SYMBOL[]; const size_t SYMBOL_size;
# with the contents of FILE. Run as a script, it writes that C file.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${INPUT} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(WRITE ${OUTPUT} "#include <stddef.h>\n"
    "extern const unsigned char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_size;\n"
    "const unsigned char ${SYMBOL}[] = {\n${bytes}\n};\n"
    "const size_t ${SYMBOL}_size = sizeof ${SYMBOL};\n")
else()
  set(assent_embed_script ${CMAKE_CURRENT_LIST_FILE})

  function(assent_embed target file symbol)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
    add_custom_command(OUTPUT ${source}
      COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${source} -DSYMBOL=${symbol}
        -P ${assent_embed_script}
      DEPENDS ${file} ${assent_embed_script} VERBATIM)
    target_sources(${target} PRIVATE ${source})
  endfunction()
endif()
