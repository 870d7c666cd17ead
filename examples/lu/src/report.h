/* What a run prints, in the form that NPB's parsers know.  For rank 0 only. */
#ifndef LU_REPORT_H
#define LU_REPORT_H

#include "problem.h"

typedef enum { UNVERIFIED, VERIFIED, NOT_PERFORMED } Verdict;

/* How the program was compiled; the lines of " Compile options:". */
typedef struct {
    const char *name, *value;
} Option;

void report_start(int points, int iterations, int ranks, const int grid[2]);

/* " Time step" at the first, every 20th and the last iteration. */
void report_progress(int iteration, int iterations);

/* Compares with the reference of `problem_class` and prints both; NULL: a size without reference. */
Verdict report_verification(const ProblemClass *problem_class, double dt, const Outcome *outcome);

void report_result(char class_name, int points, int iterations, double seconds, int ranks,
                   int compiled_ranks, Verdict verdict, const Option options[]);

#endif
