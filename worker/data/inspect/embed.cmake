# cmake -D OUT=... -D IN=page.html -P embed.cmake: the page as a C string.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"worker/data/inspect/page.h\"\nconst char ql_page[] = {${bytes}0};\n")
