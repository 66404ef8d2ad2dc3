// What the hub talks to, for tests: a catalog that is a map, and links that remember what they were told.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/hub.hpp"
#include "core/xid_past.hpp"
#include "records.hpp"

namespace plank::test {

class FakeCatalog final : public core::Catalog {
 public:
	struct Table {
		core::ShapePtr shape;
		std::map<std::string, core::Access> access;         // by role; otherwise granted
		std::map<std::string, core::ColumnNames> readable;  // the same; otherwise all
		std::set<std::string> secured;                      // roles for which row security applies
	};
	std::map<std::string, Table> tables;                            // by "schema.name"
	std::set<std::pair<std::string, std::string>> hidden_channels;  // of a role
	bool throws = false;
	std::function<void()> before_find;  // DDL between two look-ups

	core::TableAnswer find_table(const std::string& role, const core::QualifiedName& name) override
	{
		if (throws) throw std::runtime_error("the catalog is away");
		if (before_find) before_find();
		const auto found = tables.find(name.schema + "." + name.name);
		return found == tables.end() ? core::TableAnswer{} : answer(role, found->second);
	}
	core::TableAnswer look_again(const std::string& role, uint32_t relation) override
	{
		for (const auto& [name, table] : tables)
			if (table.shape->relation == relation) return answer(role, table);
		return {};
	}
	std::vector<core::ReadableTable> readable_tables(const std::string& role) override
	{
		std::vector<core::ReadableTable> tables_read;
		for (const auto& [name, table] : tables)
			if (const core::TableAnswer read = answer(role, table); read.access == core::Access::granted)
				tables_read.push_back({read.shape, read.readable});
		return tables_read;
	}
	bool may_hear(const std::string& role, const std::string& channel) override
	{
		return !hidden_channels.contains({role, channel});
	}

 private:
	static core::TableAnswer answer(const std::string& role, const Table& table)
	{
		const auto access = table.access.find(role);
		if (access == table.access.end() || access->second == core::Access::granted) {
			const auto readable = table.readable.find(role);
			return {core::Access::granted,
			        table.shape,
			        "",
			        {},
			        readable == table.readable.end() ? nullptr : readable->second,
			        table.secured.contains(role)};
		}
		return {access->second, nullptr, access->second == core::Access::failed ? "broken" : "", {}, {}, false};
	}
};

// The past of `notify`, and on demand one that must be replayed: of what was asked it remembers the tickets.
class FakePast final : public core::Past {
 public:
	core::XidPast memory{"e", "w"};
	bool replays = false;
	std::map<uint64_t, std::string> wanted;

	core::Found find(std::string_view position, const core::TransactionLog& log) override
	{
		core::Found found = memory.find(position, log);
		if (replays && found.kind == core::Found::Kind::lost) found.kind = core::Found::Kind::replay;
		return found;
	}
	void want(uint64_t ticket, std::string_view position) override { wanted.emplace(ticket, position); }
	void forget(uint64_t ticket) noexcept override { wanted.erase(ticket); }
};

// Filters of the form `v=x`: the rows whose second column is the JSON text behind the equals sign. `bad` is refused,
// `fails` fails at the first row. Row security has the same form, and depends on who asks.
class FakeEvaluator final : public core::Evaluator {
 public:
	struct Filter {
		std::string text;
		uint32_t relation;
		size_t references = 0;
		core::Identity identity = {};  // of whoever was the first to ask
		std::string policy = {};
		bool failed = false;
	};
	std::map<core::FilterId, Filter> all;
	size_t evaluated = 0;
	size_t bytes_of_one = 0;  // filter's memory
	bool throws = false;      // condition and evaluate
	bool in_callback = false;
	std::function<std::string(const core::Identity&)> policy;  // none: no row security
	bool locked = false;                                       // the tables, by DDL
	size_t locked_from = SIZE_MAX;                             // on, by `evaluated`, what row security reads is
	std::string unreadable;                                    // the text of filters that cannot judge any row
	size_t added = 0;
	// Instead of the form `v=x`: whether a row passes, by its columns' JSON texts.
	using Row = std::vector<std::string_view>;
	std::function<bool(const Filter&, const Row&)> judge;

	std::variant<core::FilterId, core::FilterFault> add_filter(const core::Identity& identity, const core::Shape& shape,
	                                                           std::string_view where) override
	{
		EXPECT_FALSE(in_batch_) << "the database is in use";
		++added;
		if (locked) return core::FilterFault{"55P03", "55P03", "the table is locked", "", "", 0};
		if (where == "bad") return core::FilterFault{"42601", "42601", "syntax error", "", "", 1};
		const std::string secured = policy ? policy(identity) : "";
		if (secured == "bad") return core::FilterFault{"0A000", "0A000", "no such policy", "", "", 0};
		if (where.empty() && secured.empty()) return core::kNoFilter;
		core::FilterId id = 0;
		for (auto& [known, filter] : all) {
			if (filter.text == where && filter.relation == shape.relation && filter.policy == secured) {
				++filter.references;
				return known;
			}
			id = known + 1;
		}
		all[id] = {std::string(where), shape.relation, 1, identity, secured};
		return id;
	}
	void retain(core::FilterId filter) noexcept override { ++all.at(filter).references; }
	void release(core::FilterId filter) noexcept override
	{
		EXPECT_FALSE(in_callback);
		if (--all.at(filter).references == 0) all.erase(filter);
	}
	std::variant<std::string, core::FilterFault> condition(core::FilterId filter, const core::Shape&) override
	{
		EXPECT_FALSE(in_batch_) << "the database is in use";
		if (throws) throw std::runtime_error("the database is away");
		return all.at(filter).text;
	}
	void look_again(const core::Shape& shape) override { to_look_at_.insert(shape.relation); }
	bool look_further(std::chrono::steady_clock::time_point, core::LookedAgain& found) override
	{
		EXPECT_FALSE(in_batch_) << "the database is in use";
		for (auto& [id, filter] : all) {
			if (filter.failed || !to_look_at_.contains(filter.relation)) continue;
			const std::string secured = policy ? policy(filter.identity) : "";
			if (secured == "bad") {
				filter.failed = true;
				found.failed.push_back({id, {"0A000", "0A000", "no such policy", "", "", 0}});
			} else if (std::exchange(filter.policy, secured) != secured) {
				found.changed.push_back(id);
			}
		}
		to_look_at_.clear();
		return false;
	}
	uint64_t rights(core::FilterId filter) const noexcept override
	{
		const auto found = all.find(filter);
		return found == all.end() || found->second.policy.empty() ? 0 : std::hash<std::string>()(found->second.policy);
	}
	bool has_filters(uint32_t relation) const noexcept override
	{
		for (const auto& [id, filter] : all)
			if (filter.relation == relation) return true;
		return false;
	}
	void begin_batch() override { EXPECT_FALSE(std::exchange(in_batch_, true)); }
	void end_batch() override { EXPECT_TRUE(std::exchange(in_batch_, false)); }
	void abort_batch() noexcept override { EXPECT_TRUE(std::exchange(in_batch_, false)); }
	void begin_turn() noexcept override {}
	void evaluate(const core::Shape& shape, const core::Record& change, core::Verdicts& verdicts) override
	{
		EXPECT_TRUE(in_batch_);
		if (throws) throw std::runtime_error("the database is away");
		verdicts.passed.clear();
		verdicts.failed.clear();
		verdicts.unreadable.clear();
		verdicts.locked = evaluated >= locked_from;
		if (verdicts.locked) return;
		++evaluated;
		core::Reader reader(change.image);
		Row now(shape.columns.size());
		for (std::string_view& value : now)
			value = reader.counted();
		Row before = now;
		if (change.op == core::Op::update)
			for (uint64_t left = reader.varint(); left > 0; --left) {
				const uint64_t column = reader.varint();
				before[column] = reader.counted();
			}
		for (auto& [id, filter] : all) {
			if (filter.relation != shape.relation || filter.failed) continue;
			if (filter.text == "fails") {
				filter.failed = true;
				verdicts.failed.push_back({id, {"22012", "22012", "division by zero", "", "", 0}});
				continue;
			}
			if (!unreadable.empty() && filter.text == unreadable) {
				verdicts.unreadable.push_back(id);
				continue;
			}
			const auto passes = [&, of = &filter](const Row& row) {
				if (judge) return judge(*of, row);
				return (of->text.empty() || row[1] == of->text.substr(2)) &&
				       (of->policy.empty() || row[1] == of->policy.substr(2));
			};
			const core::Verdict verdict{id, change.op != core::Op::insert && passes(before),
			                            change.op != core::Op::remove && passes(now)};
			if (verdict.before || verdict.after) verdicts.passed.push_back(verdict);
		}
	}
	size_t filters() const noexcept override { return all.size(); }
	size_t memory() const noexcept override { return all.size() * bytes_of_one; }
	size_t memory_of(core::FilterId) const noexcept override { return bytes_of_one; }

 private:
	bool in_batch_ = false;
	std::set<uint32_t> to_look_at_;
};

class FakeSnapshots final : public core::RowSource {
 public:
	std::map<uint64_t, core::RowsWanted> wanted;
	std::set<uint64_t> paused;
	std::vector<uint64_t> fences;

	void start(uint64_t number, const core::RowsWanted& what) override { wanted.emplace(number, what); }
	void cancel(uint64_t number) noexcept override { wanted.erase(number); }
	void pause(uint64_t number, bool pause) noexcept override
	{
		if (pause)
			paused.insert(number);
		else
			paused.erase(number);
	}
	void fence(uint64_t number) override { fences.push_back(number); }
};

// A connection as the network layer keeps it: `ready` until next_frame has nothing more.
class FakeLink final : public core::Link {
 public:
	bool ready = false;
	bool paused = false;
	uint16_t closed = 0;  // the close code
	size_t bytes = 0;     // of the connection's memory
	bool drains = false;

	void request_write() noexcept override { ready = true; }
	void pause_reading(bool pause) noexcept override
	{
		EXPECT_NE(paused, pause) << "told twice";
		paused = pause;
	}
	void close(uint16_t code, std::string_view, bool drain) noexcept override
	{
		// Like net/: the first code stays, and a client that drains may still be cut.
		if (!closed) closed = code;
		drains = drain;
		ready = true;
	}
	size_t memory() const noexcept override { return bytes; }
};

// A hub with its surroundings and clients, each of which reads all that waits when asked to.
class HubFixture : public testing::Test {
 protected:
	struct Client {
		FakeLink link;
		core::Session* session = nullptr;
	};

	static core::HubLimits limits()
	{
		core::HubLimits limits;
		limits.log.directory = testing::TempDir();
		return limits;
	}

	HubFixture() { hub.begin_stream(0, past.memory.first_position()); }

	FakeCatalog catalog;
	int64_t now = 0;
	FakePast past;
	FakeEvaluator evaluator;
	FakeSnapshots snapshots;
	core::Hub hub{limits(), {catalog, past, evaluator, snapshots, [this] { return now; }}};
	core::ShapeCache shapes;
	std::vector<std::unique_ptr<Client>> clients;

	core::Shape table(uint32_t relation, const std::string& name, const std::string& notify = "")
	{
		core::Shape shape = shape_of(relation, "public." + name, {{"id", "integer"}, {"v", "text"}}, {0});
		shape.notify = notify;
		shape.derive();
		catalog.tables["public." + name].shape = std::make_shared<core::Shape>(shape);
		return shape;
	}
	Client& connect(const std::string& role = "web")
	{
		clients.push_back(std::make_unique<Client>());
		Client& client = *clients.back();
		client.session = &hub.open(client.link, "s" + std::to_string(clients.size()),
		                           role.empty() ? nullptr : core::anonymous_identity(role));
		read(client);
		return client;
	}
	// Somebody with a token: `name` is all that tells clients of one role apart.
	Client& connect_as(const std::string& name, const std::string& role = "web")
	{
		Client& client = connect("");
		auto identity = std::make_shared<core::Identity>(*core::anonymous_identity(role));
		identity->claims = name;
		core::append_counted(identity->key, name);
		client.session->become(std::move(identity));
		return client;
	}
	void allow(const std::string& name, std::vector<std::string> columns, const std::string& role = "web")
	{
		catalog.tables.at("public." + name).readable[role] =
		    std::make_shared<const std::vector<std::string>>(std::move(columns));
	}
	// The table as it is from now on: with another column.
	core::Shape add_column(const std::string& name)
	{
		core::ShapePtr& shape = catalog.tables.at("public." + name).shape;
		core::Shape changed = *shape;
		changed.columns.push_back({"c" + std::to_string(changed.columns.size()), "text"});
		changed.derive();
		shape = std::make_shared<core::Shape>(changed);
		return changed;
	}
	void answer() { hub.process_requests(std::chrono::steady_clock::time_point::max()); }
	void look(const core::CatalogChange& change = {})
	{
		hub.look_again(change);
		hub.look_further(std::chrono::steady_clock::time_point::max());
	}
	void judge()
	{
		while (hub.judge(std::chrono::steady_clock::time_point::max())) {}
	}
	void ask(Client& client, const std::string& text)
	{
		hub.receive(*client.session, text);
		answer();
	}
	void subscribe(Client& client, const std::string& id, const std::string& table, const std::string& more = "")
	{
		ask(client, R"({"type":"subscribe","id":")" + id + R"(","table":")" + table + "\"" + more + "}");
	}
	void subscribe_channel(Client& client, const std::string& id, const std::string& channel)
	{
		ask(client, R"({"type":"subscribe","id":")" + id + R"(","channel":")" + channel + "\"}");
	}
	void deliver(uint64_t xid, const Body& body)
	{
		std::optional<core::Transaction> transaction = body.transaction(xid, shapes, now);
		ASSERT_TRUE(transaction);
		hub.deliver(std::move(*transaction));
	}
	void deliver_row(uint64_t xid, const core::Shape& shape, const std::string& value = "\"x\"")
	{
		Body body;
		body.row(core::Tag::insert, body.shape(shape), {"1", value});
		deliver(xid, body);
	}
	// One client's next frame, or "".
	std::string frame(Client& client)
	{
		if (!client.link.ready) return "";
		const core::FramePtr next = hub.next_frame(*client.session);
		if (!next) client.link.ready = false;
		return next ? std::string(next->text()) : "";
	}
	// All that waits for one client, a word for each message: type, id or xid, code.
	std::string read(Client& client)
	{
		std::string told;
		for (std::string text = frame(client); !text.empty(); text = frame(client)) {
			const Json root = parse(text);
			EXPECT_TRUE(root) << text;
			if (json_is_array(root.get()))
				for (size_t i = 0; i < json_array_size(root.get()); ++i)
					told += word(json_array_get(root.get(), i));
			else
				told += word(root.get());
		}
		if (!told.empty()) told.pop_back();
		return told;
	}

 private:
	static std::string word(const json_t* message)
	{
		std::string word = text_of(message, "type");
		for (const char* name : {"id", "xid", "code"})
			if (!text_of(message, name).empty()) word += ":" + text_of(message, name);
		if (json_is_true(json_object_get(message, "more"))) word += "+";
		return word + " ";
	}
};

}  // namespace plank::test
