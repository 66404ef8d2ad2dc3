// The crash breaker and the workers' registration. A crash of a worker restarts the user's whole cluster, so one that
// crashes again and again stays down. What is counted lives in memory shared with the postmaster from before the first
// worker on, because the server's shared memory is made anew after a crash.
#pragma once

namespace plank::worker {

// Makes the breaker's memory and registers one background worker per slot. From _PG_init of the postmaster, after
// request_shared_state.
void register_workers();

// Called first in a worker. False: it has crashed plank.crash_limit times within a minute and must stay down; the reason
// has been logged.
bool breaker_allows(int slot);
// From now on the end of this process is no crash: an orderly exit, or the postmaster's SIGQUIT.
void breaker_orderly_end() noexcept;

}  // namespace plank::worker
