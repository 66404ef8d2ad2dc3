// A table with one column that only some may read, and row security on demand: what the tests of rights share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/hub.hpp"
#include "hub_fakes.hpp"

namespace plank::core {

class Rights : public test::HubFixture {
 protected:
	Shape items = secret("items", {0});

	// A table with one column that only some may read.
	Shape secret(const std::string& name, const std::vector<uint32_t>& key)
	{
		const uint32_t relation = static_cast<uint32_t>(catalog.tables.size() + 1);
		std::vector<Column> columns = {{"id", "integer"}, {"v", "text"}, {"secret", "text"}};
		for (size_t i = 0; i < columns.size(); ++i)
			columns[i].number = static_cast<uint16_t>(i + 1);
		const Shape shape = test::shape_of(relation, "public." + name, columns, key);
		catalog.tables["public." + name].shape = std::make_shared<Shape>(shape);
		return shape;
	}
	void insert(uint64_t xid, const std::string& v, const std::string& hidden = "\"s\"")
	{
		test::Body body;
		body.row(Tag::insert, body.shape(items), {"1", v, hidden});
		deliver(xid, body);
		judge();
	}
	void update(uint64_t xid, const test::Body::Former& former, const Shape* shape = nullptr)
	{
		test::Body body;
		body.update(body.shape(shape ? *shape : items), {"1", "\"x\"", "\"t\""}, former);
		deliver(xid, body);
		judge();
	}
	void secure(const std::function<std::string(const Identity&)>& policy)
	{
		evaluator.policy = policy;
		catalog.tables.at("public.items").secured = {"web"};
	}
	static std::string by_name(const Identity& identity) { return "v=\"" + identity.claims + "\""; }
	// All that waits, as text.
	std::string all(Client& client)
	{
		std::string text;
		for (std::string next = frame(client); !next.empty(); next = frame(client))
			text += next + "\n";
		return text;
	}
	uint64_t only_snapshot()
	{
		EXPECT_EQ(snapshots.wanted.size(), 1u);
		return snapshots.wanted.begin()->first;
	}
	// The rows that are being read come and are all.
	void finish_snapshot(const std::string& rows)
	{
		const uint64_t number = only_snapshot();
		hub.snapshot_begun(number, std::make_shared<Seen>(Seen{1, 1, {}}), catalog.tables.at("public.items").shape);
		hub.snapshot_rows(number, std::string(rows));
		hub.snapshot_done(number);
		hub.fence_passed(number);
		snapshots.wanted.clear();
	}
};

}  // namespace plank::core
