// The hub's questions, answered from PostgreSQL's catalog. Runs in the worker, outside network callbacks. Takes locks only
// when they are free: DDL in some session must never make all clients wait.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/catalog.hpp"
#include "pg/postgres.hpp"
#include "pg/table.hpp"

namespace plank::worker {

class PostgresCatalog final : public core::Catalog {
 public:
	core::TableAnswer find_table(const std::string& role, const core::QualifiedName& name) override;
	core::TableAnswer look_again(const std::string& role, uint32_t relation) override;
	std::vector<core::ReadableTable> readable_tables(const std::string& role) override;
	bool may_hear(const std::string& role, const std::string& channel) override;

	// Reads plank.channel. Returns the channels, in the database's encoding, without repetition. In a unit of work.
	std::vector<std::string> read_channels();
	// Without the extension nothing is exposed.
	void forget_channels() noexcept { exposures_.clear(); }
	// Ends the unit of work that questions have begun, if any.
	void finish();

 private:
	struct Exposure {
		std::string channel;  // UTF-8
		Oid role;             // InvalidOid: any
	};

	void begin();
	core::TableAnswer look(Oid role, Oid relation);
	Oid usable_role(const std::string& role);
	template <typename F>
	core::TableAnswer guarded(F&& f);

	std::vector<Exposure> exposures_;
	std::map<std::string, core::ShapePtr> shapes_;  // by identity, so that equal ones are one object
};

// The shape of a described table.
core::ShapePtr make_shape(const pg::TableDescription& description, const std::string& notify);

}  // namespace plank::worker
