// plank.track and plank.untrack. Runs in ordinary sessions.
#pragma once

namespace plank::backend {

// True while plank.track or plank.untrack works in this process: the utility hook leaves their own DDL alone.
bool tracking_is_changing() noexcept;

}  // namespace plank::backend
