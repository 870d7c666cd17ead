/* cg.CLASS [ROWS_PER_EDGE [ITERATIONS]]
 *
 * Exit status: 0, 1 if verification failed, 2 if the run could not be started as asked. */
#include "eigen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef CG_CLASS
#error "build with: make cg CLASS=S"
#endif

enum { EXIT_UNVERIFIED = 1, EXIT_USAGE = 2, LARGEST_EDGE = 1200 };

static const double EPSILON = 1e-8;

typedef struct {
    char name;
    int edge, iterations;
} Size;

static const Size SIZES[] = {
    {'S', 12, 10}, {'W', 32, 12}, {'A', 64, 15}, {'B', 102, 25}, {'C', 162, 50},
};

/* The class's size with the arguments' changes; false if they make no sense. */
static bool read_size(int argc, char **argv, Size *size)
{
    char rest; /* what %c would find after the number: nothing */

    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        if (SIZES[i].name == CG_CLASS)
            *size = SIZES[i];
    if (argc > 3)
        return false;
    if (argc > 1 && sscanf(argv[1], "%d%c", &size->edge, &rest) != 1)
        return false;
    if (argc > 2 && sscanf(argv[2], "%d%c", &size->iterations, &rest) != 1)
        return false;
    if (argc > 1)
        size->name = 'U';
    return size->edge >= 2 && size->edge <= LARGEST_EDGE && size->iterations >= 1;
}

/* Operations of one iteration: additions and multiplications, the matrix's and the vectors'. */
static double operations(const Size *size)
{
    const double n = size->edge, rows = n * n * n, entries = 7.0 * rows - 6.0 * n * n;
    return (INNER_STEPS + 1) * 2.0 * entries + INNER_STEPS * 12.0 * rows + 8.0 * rows;
}

static void report_start(const Size *size, int ranks)
{
    printf("\n\n CG in C and MPI: the smallest eigenvalue of a sparse matrix\n\n");
    printf(" Size: %10lld rows\n", (long long)size->edge * size->edge * size->edge);
    printf(" Iterations: %5d\n", size->iterations);
    printf(" Number of processes: %5d\n\n", ranks);
    fflush(stdout);
}

static bool report_end(const Size *size, int ranks, double value, double seconds)
{
    const double half = sin(acos(-1.0) / (2.0 * (size->edge + 1)));
    const double wanted = 12.0 * half * half;
    const double error = fabs(value - wanted) / wanted;
    const bool good = error <= EPSILON; /* no number at all fails, too */
    const double rate = seconds > 0.0 ? operations(size) * size->iterations / seconds * 1e-6 : 0.0;

    printf("\n Eigenvalue  %20.13E\n Known to be %20.13E\n Error       %20.13E\n", value, wanted, error);
    puts(good ? " Verification Successful" : " Verification failed");
    printf("\n\n CG Benchmark Completed.\n");
    printf(" Class           = %24c\n", size->name);
    printf(" Size            =           %4dx%4dx%4d\n", size->edge, size->edge, size->edge);
    printf(" Iterations      = %24d\n", size->iterations);
    printf(" Time in seconds = %24.2f\n", seconds);
    printf(" Elapsed seconds = %24.6f\n", seconds);
    printf(" Total processes = %24d\n", ranks);
    printf(" Mop/s total     = %24.2f\n", rate);
    printf(" Mop/s/process   = %24.2f\n", rate / ranks);
    printf(" Operation type  = %24s\n", "floating point");
    printf(" Verification    = %24s\n", good ? "SUCCESSFUL" : "UNSUCCESSFUL");
    printf("\n\n");
    fflush(stdout);
    return good;
}

static int run(const Size *size, int ranks, int rank)
{
    Matrix matrix;
    Eigen eigen;
    double value = 0.0, residual = 0.0;

    if (!matrix_create(&matrix, size->edge, ranks, rank) || !eigen_create(&eigen, &matrix)) {
        fprintf(stderr, "cg: not enough memory for a block of %d rows.\n", matrix.rows);
        MPI_Abort(MPI_COMM_WORLD, EXIT_USAGE);
    }
    if (rank == 0)
        report_start(size, ranks);
    eigen_start(&eigen);
    eigen_iterate(&eigen, &residual); /* untimed: touches all memory and opens all connections */
    eigen_start(&eigen);

    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int iteration = 1; iteration <= size->iterations; iteration++) {
        value = eigen_iterate(&eigen, &residual);
        if (rank == 0) {
            printf(" Iteration %4d   residual %.6E   eigenvalue %.13f\n", iteration, residual, value);
            fflush(stdout);
        }
    }
    double elapsed = MPI_Wtime() - start, longest;
    MPI_Reduce(&elapsed, &longest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);

    /* All ranks end alike, so that no launcher has to choose among statuses. */
    int status = EXIT_SUCCESS;
    if (rank == 0 && !report_end(size, ranks, value, longest))
        status = EXIT_UNVERIFIED;
    MPI_Bcast(&status, 1, MPI_INT, 0, MPI_COMM_WORLD);
    eigen_free(&eigen);
    matrix_free(&matrix);
    return status;
}

int main(int argc, char **argv)
{
    int ranks, rank, status = EXIT_USAGE;
    Size size = {'U', 0, 0};

    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (!read_size(argc, argv, &size)) {
        if (rank == 0)
            fprintf(stderr, "usage: cg.%c [ROWS_PER_EDGE (2 to %d) [ITERATIONS]]\n", CG_CLASS,
                    LARGEST_EDGE);
    } else if (ranks > size.edge * size.edge * size.edge) {
        if (rank == 0)
            fprintf(stderr, "cg: %d rows cannot be cut for %d ranks.\n  try:  fewer ranks, or a larger "
                            "class\n", size.edge * size.edge * size.edge, ranks);
    } else {
        status = run(&size, ranks, rank);
    }
    MPI_Finalize();
    return status;
}
