/* The page without its contents: page.html, taken up when the program is built (embed.cmake). {{NAME}} stands for what is
 * put there. */
#pragma once
extern const char ql_page[];
