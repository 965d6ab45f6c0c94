/* Which kernels ran: their names are appended, once each, to the file named by QL_EMU_LAUNCHED when the
 * process ends, so that a test can see which kernel no test has run. */
#pragma once

namespace emulation {

/* `kernel` as written at the launch: "(sum<float, 4>)" is noted as "sum". */
void note_launched(const char *kernel);

} // namespace emulation
