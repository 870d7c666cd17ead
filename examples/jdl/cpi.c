/* Pi by the midpoint rule on 4/(1+x^2), the intervals dealt out to the processes in turn. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const double pi = 3.14159265358979323846;
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    long intervals = argc > 1 ? atol(argv[1]) : 1000000;
    MPI_Bcast(&intervals, 1, MPI_LONG, 0, MPI_COMM_WORLD);
    if (intervals < 1) {
        if (rank == 0)
            fprintf(stderr, "usage: %s [INTERVALS]\n", argv[0]);
        MPI_Finalize();
        return 2;
    }

    const double width = 1.0 / (double)intervals;
    double mine = 0.0, all = 0.0;
    for (long i = rank; i < intervals; i += size) {
        const double x = width * ((double)i + 0.5);
        mine += 4.0 / (1.0 + x * x);
    }
    mine *= width;
    MPI_Reduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("pi is about %.12f, off by %.1e, by %d processes\n", all, fabs(all - pi), size);
    MPI_Finalize();
    return 0;
}
