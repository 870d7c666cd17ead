/* lu.CLASS.NPROCS [POINTS [ITERATIONS [DT]]]
 *
 * Class and number of ranks are compiled in, as scripts around NPB expect; the arguments override the
 * class's size, and are how sizes without a reference ("class U") are run.
 *
 * Exit status: 0, 1 if verification failed, 2 if the run could not be started as asked. */
#include "report.h"
#include "solver.h"

#include <stdio.h>
#include <stdlib.h>

#if !defined(LU_CLASS) || !defined(LU_NPROCS)
#error "build with: make lu CLASS=S NPROCS=1"
#endif

/* How it was compiled, for the report.  The Makefile says; a bare mpicc command need not. */
#ifndef LU_MPICC
#define LU_MPICC "unknown"
#define LU_CFLAGS "unknown"
#define LU_CMPI_INC "unknown"
#define LU_CMPI_LIB "unknown"
#define LU_CLINKFLAGS "unknown"
#endif

enum { EXIT_UNVERIFIED = 1, EXIT_USAGE = 2 };

/* Next to the walls the dissipation is one-sided; below this the two closures would overlap. */
enum { FEWEST_POINTS = 6 };

static const Option OPTIONS[] = {
    {"MPICC", LU_MPICC},
    {"CLINK", LU_MPICC},
    {"CMPI_LIB", LU_CMPI_LIB},
    {"CMPI_INC", LU_CMPI_INC},
    {"CFLAGS", LU_CFLAGS},
    {"CLINKFLAGS", LU_CLINKFLAGS},
    {"RAND", ""},
    {NULL, NULL},
};

typedef struct {
    int points, iterations;
    double dt;
} Size;

/* The class's size with the arguments' changes; false if they make no sense. */
static bool read_size(int argc, char **argv, Size *size)
{
    char rest; /* what %c would find after the number: nothing */

    if (argc > 4)
        return false;
    if (argc > 1 && sscanf(argv[1], "%d%c", &size->points, &rest) != 1)
        return false;
    if (argc > 2 && sscanf(argv[2], "%d%c", &size->iterations, &rest) != 1)
        return false;
    if (argc > 3 && sscanf(argv[3], "%lf%c", &size->dt, &rest) != 1)
        return false;
    return size->points >= FEWEST_POINTS && size->iterations >= 1 && size->dt > 0.0;
}

/* Whether the run can start; if not, rank 0 says why.  Every rank comes to the same answer. */
static bool prepare(int argc, char **argv, int ranks, int rank, Size *size, Block *block)
{
    const bool speaks = rank == 0;

    if (ranks != LU_NPROCS) {
        if (speaks)
            fprintf(stderr, "lu: compiled for %d ranks, started with %d.\n"
                            "  try:  mpirun -n %d ..., or make lu CLASS=%c NPROCS=%d\n",
                    LU_NPROCS, ranks, LU_NPROCS, LU_CLASS, ranks);
        return false;
    }
    if (!read_size(argc, argv, size)) {
        if (speaks)
            fprintf(stderr, "usage: lu.%c.%d [POINTS (at least %d) [ITERATIONS [DT]]]\n", LU_CLASS,
                    LU_NPROCS, FEWEST_POINTS);
        return false;
    }
    if (!block_create(block, size->points, ranks, rank)) {
        if (speaks)
            fprintf(stderr, "lu: %d points cut for %dx%d ranks leave blocks of fewer than %d points.\n"
                            "  try:  fewer ranks, or a larger class\n",
                    size->points, block->ranks[X], block->ranks[Y], SMALLEST_BLOCK);
        return false;
    }
    return true;
}

/* Iterates from the start; the longest time any rank took. */
static double solve(Solver *solver, int iterations, bool speaks, double residual[COMPONENTS])
{
    solver_start(solver);
    solver_iterate(solver); /* untimed: touches all memory and opens all connections */
    solver_start(solver);

    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int iteration = 1; iteration <= iterations; iteration++) {
        if (speaks)
            report_progress(iteration, iterations);
        solver_iterate(solver);
    }
    residual_norms(solver, residual);
    double elapsed = MPI_Wtime() - start, longest;
    MPI_Allreduce(&elapsed, &longest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return longest;
}

static int run(const Size *size, const Block *block, int ranks, bool speaks)
{
    Solver solver;
    Outcome outcome;
    Verdict verdict = UNVERIFIED;

    if (!solver_create(&solver, block, size->dt)) {
        fprintf(stderr, "lu: not enough memory for a block of %dx%dx%d points.\n", block->count[X],
                block->count[Y], block->count[Z]);
        MPI_Abort(MPI_COMM_WORLD, EXIT_USAGE);
    }
    if (speaks)
        report_start(size->points, size->iterations, ranks, block->ranks);

    const double seconds = solve(&solver, size->iterations, speaks, outcome.residual);
    error_norms(&solver, outcome.error);
    outcome.surface = surface_integral(&solver);
    solver_free(&solver);

    if (speaks) {
        const ProblemClass *const its_class = class_sized(size->points, size->iterations);
        verdict = report_verification(its_class, size->dt, &outcome);
        report_result(its_class != NULL ? its_class->name : 'U', size->points, size->iterations,
                      seconds, ranks, LU_NPROCS, verdict, OPTIONS);
    }
    /* All ranks end alike, so that no launcher has to choose among statuses. */
    int status = verdict == UNVERIFIED ? EXIT_UNVERIFIED : EXIT_SUCCESS;
    MPI_Bcast(&status, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return status;
}

int main(int argc, char **argv)
{
    int ranks, rank, status = EXIT_USAGE;
    Block block;

    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);

    const ProblemClass *const compiled = class_named(LU_CLASS);
    Size size = {compiled->points, compiled->iterations, compiled->dt};
    if (prepare(argc, argv, ranks, rank, &size, &block))
        status = run(&size, &block, ranks, rank == 0);

    MPI_Finalize();
    return status;
}
