/* The text of slurm/qlora-srun.sbatch and slurm/qlora-mpirun.sbatch below the values that people change, built in. */
#pragma once

extern const char ql_template_srun[], ql_template_mpirun[];
