/* The printed lines of a run. */
#include "report.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Tolerated relative difference of each of the eleven numbers, and absolute one of dt. */
static const double EPSILON = 1e-8;

void report_start(int points, int iterations, int ranks, const int grid[2])
{
    printf("\n\n LU (C, MPI) -- implements the NPB 3.3 LU problem specification\n\n");
    printf(" Size: %4dx%4dx%4d\n", points, points, points);
    printf(" Iterations: %4d\n", iterations);
    printf(" Number of processes: %5d\n", ranks);
    printf(" Process grid: %4dx%4d\n\n", grid[0], grid[1]);
    fflush(stdout);
}

void report_progress(int iteration, int iterations)
{
    if (iteration == 1 || iteration % 20 == 0 || iteration == iterations) {
        printf(" Time step %4d\n", iteration);
        fflush(stdout); /* into a pipe too: whoever watches sees it when it happens */
    }
}

/* A number as Fortran's E20.13 writes it: 0.1234567890123E+01, where C would say 1.234567890123E+00. */
static const char *fortran_e(double value, char text[32])
{
    char scientific[32]; /* d.dddddddddddd E sign and at least two digits */

    if (!isfinite(value)) {
        snprintf(text, 32, "%20s", isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
        return text;
    }
    snprintf(scientific, sizeof scientific, "%.12E", fabs(value));
    int exponent = 0;
    sscanf(strchr(scientific, 'E') + 1, "%d", &exponent);
    if (value != 0.0)
        exponent++;
    snprintf(text, 32, "%s0.%c%.12sE%+03d", value < 0 ? "-" : " ", scientific[0], scientific + 2,
             exponent);
    return text;
}

/* One line of a comparison; `number` 0: the quantity has no components. */
static bool compare(int number, double value, double reference)
{
    const double difference = fabs((value - reference) / reference);
    const bool good = difference <= EPSILON; /* false for NaN as well */
    char a[32], b[32], c[32];

    fputs(good ? "          " : " FAILURE: ", stdout);
    if (number > 0)
        printf("%2d  ", number);
    else
        printf("    ");
    printf("%s%s%s\n", fortran_e(value, a), fortran_e(reference, b), fortran_e(difference, c));
    return good;
}

static bool compare_all(const char *title, const double values[COMPONENTS],
                        const double references[COMPONENTS])
{
    bool good = true;
    printf(" Comparison of RMS-norms of %s\n", title);
    for (int m = 0; m < COMPONENTS; m++)
        good &= compare(m + 1, values[m], references[m]);
    return good;
}

/* The values alone, for a size nobody published a reference for. */
static void print_values(const Outcome *outcome)
{
    char text[32];

    printf(" RMS-norms of residual\n");
    for (int m = 0; m < COMPONENTS; m++)
        printf("          %2d  %s\n", m + 1, fortran_e(outcome->residual[m], text));
    printf(" RMS-norms of solution error\n");
    for (int m = 0; m < COMPONENTS; m++)
        printf("          %2d  %s\n", m + 1, fortran_e(outcome->error[m], text));
    printf(" Surface integral\n              %s\n", fortran_e(outcome->surface, text));
}

Verdict report_verification(const ProblemClass *problem_class, double dt, const Outcome *outcome)
{
    char text[32];

    if (problem_class == NULL) {
        printf("\n Problem size unknown\n");
        print_values(outcome);
        printf(" No reference values provided\n No verification performed\n");
        return NOT_PERFORMED;
    }
    printf("\n Verification being performed for class %c\n", problem_class->name);
    printf(" Accuracy setting for epsilon = %s\n", fortran_e(EPSILON, text));

    bool good = fabs(dt - problem_class->dt) <= EPSILON;
    if (!good)
        printf(" The time step %g is not the one of the class, %g\n", dt, problem_class->dt);
    good &= compare_all("residual", outcome->residual, problem_class->reference.residual);
    good &= compare_all("solution error", outcome->error, problem_class->reference.error);
    printf(" Comparison of surface integral\n");
    good &= compare(0, outcome->surface, problem_class->reference.surface);
    puts(good ? " Verification Successful" : " Verification failed");
    return good ? VERIFIED : UNVERIFIED;
}

/* Operations by the formula every LU result is published with, whatever the program really executes. */
static double mega_operations(int points, int iterations)
{
    const double n = points;
    return iterations * (1984.77 * n * n * n - 10923.3 * n * n + 27770.9 * n - 144010.0) * 1e-6;
}

void report_result(char class_name, int points, int iterations, double seconds, int ranks,
                   int compiled_ranks, Verdict verdict, const Option options[])
{
    static const char *const VERDICTS[] = {"UNSUCCESSFUL", "SUCCESSFUL", "NOT PERFORMED"};
    static const char DATE[] = __DATE__; /* "Nov 21 2026" */
    const double rate = seconds > 0.0 ? mega_operations(points, iterations) / seconds : 0.0;

    printf("\n\n LU Benchmark Completed.\n");
    printf(" Class           = %24c\n", class_name);
    printf(" Size            =           %4dx%4dx%4d\n", points, points, points);
    printf(" Iterations      = %24d\n", iterations);
    printf(" Time in seconds = %24.2f\n", seconds);
    /* Two decimals say nothing about class S. */
    printf(" Elapsed seconds = %24.6f\n", seconds);
    printf(" Total processes = %24d\n", ranks);
    printf(" Compiled procs  = %24d\n", compiled_ranks);
    printf(" Mop/s total     = %24.2f\n", rate);
    printf(" Mop/s/process   = %24.2f\n", rate / ranks);
    printf(" Operation type  = %24s\n", "floating point");
    printf(" Verification    = %24s\n", VERDICTS[verdict]);
    printf(" Version         = %24s\n", "1.0");
    printf(" Compile date    = %13s%.2s %.3s %.4s\n", "", DATE + 4, DATE, DATE + 7);
    printf("\n Compile options:\n");
    for (const Option *option = options; option->name != NULL; option++)
        printf("    %-12s = %s\n", option->name, option->value[0] ? option->value : "(none)");
    printf("\n\n");
    fflush(stdout);
}
