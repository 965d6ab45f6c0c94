/* The environment is read once by a process, and mistakes end it: each case runs in a process of its own. */
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

struct outcome {
    int status;       /* its exit code; 128 + n: killed by signal n */
    std::string said; /* on stderr */
};
typedef std::vector<std::pair<const char *, const char *>> variables;

/* `body` in a child with these variables set; its exit code is 0 when it returns. */
outcome in_child(const variables &set, const std::function<void()> &body);

/* In a child: ends it with status 1 unless `condition` holds. */
#define require(condition) require_at((condition), #condition, __FILE__, __LINE__)
void require_at(bool condition, const char *text, const char *file, int line);

/* In the test: the child ended with `status` and its messages contain `text`. */
#define assert_outcome(OUTCOME, STATUS, TEXT) assert_outcome_at(OUTCOME, STATUS, TEXT, __FILE__, __LINE__)
void assert_outcome_at(const outcome &o, int status, const char *text, const char *file, int line);
