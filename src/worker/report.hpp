// Answers plank.clients and plank.subscriptions: the worker writes who is connected into a file that the asking session
// reads. Runs in the worker, outside network callbacks.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "core/hub.hpp"

namespace plank::worker {

class Report {
 public:
	explicit Report(int slot) : slot_(slot) {}
	// Writes the report when one was asked for. Cheap when not.
	void answer(const core::Hub& hub);

 private:
	int slot_;
};

}  // namespace plank::worker
