// Positions of a stream that only memory holds: the server start and a transaction id, looked up in the log.
// Runs in the worker, for `plank.transport = 'notify'`. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string>

#include "core/past.hpp"

namespace plank::core {

// Workers of one server start understand each other's positions: they all have heard of the same transactions. Before its
// first transaction a worker's position is its own alone.
class XidPast final : public Past {
 public:
	// `epoch` tells this server start from others, `worker` this process from others: letters and digits.
	XidPast(std::string epoch, std::string worker) : epoch_(std::move(epoch)), worker_(std::move(worker)) {}

	std::string position_of(uint64_t xid) const { return epoch_ + '-' + std::to_string(xid); }
	std::string first_position() const { return epoch_ + "-0-" + worker_; }

	Found find(std::string_view position, const TransactionLog& log) override;
	// `find` never says to replay.
	void want(uint64_t, std::string_view) override {}
	void forget(uint64_t) noexcept override {}

 private:
	std::string epoch_, worker_;
};

}  // namespace plank::core
