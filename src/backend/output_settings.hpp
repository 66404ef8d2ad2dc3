// PostgreSQL's output settings as plain variables. Runs in ordinary sessions.
#pragma once

namespace plank::backend {

// Sets what OutputSettings holds once more, for after code that may have changed it. Does not ereport.
void pin_output_settings();

}  // namespace plank::backend
