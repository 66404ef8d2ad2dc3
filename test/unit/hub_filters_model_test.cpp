// The hub's filters against a model that is simple enough to be right: tables that are maps, conditions that are functions,
// and for each subscription, at once and in full, what it is owed of each transaction. Conditions are equalities, lists and
// ranges on any column, columns are chosen, identities have row security that changes, rows enter and leave, keys change,
// and clients come back with positions; the hub judges in slices, late, and again for who catches up.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>

#include "conditions.hpp"
#include "hub_fakes.hpp"
#include "owed.hpp"

namespace plank::core {
namespace {

using test::Body;
using test::canonical;
using test::Happening;
using test::holds;
using test::joined;
using test::json_of;
using test::kColumns;
using test::kNames;
using test::Row;
using test::Watch;

constexpr int kTables = 3;
constexpr int kKeys = 30;
constexpr int kValues = 6;
constexpr int kSteps = 2500;
const std::vector<std::string> kOpNames = {"insert", "update", "delete", "truncate"};

struct Committed {
	uint64_t xid = 0;
	std::vector<Happening> happenings;
	std::vector<uint32_t> resets;
};

class HubFiltersModel : public test::HubFixture {
 protected:
	struct Modelled {
		std::string name;  // of the identity; "" has no row security
		std::map<std::string, Watch> watches;
		std::vector<std::string> owed, had;
		std::map<std::string, std::vector<std::string>> unfinished;
		bool in_parts = false, diligent = false;
	};

	std::mt19937 random;
	std::map<const Client*, Modelled> models;
	std::map<uint32_t, std::map<int, Row>> tables;
	std::vector<Committed> history;  // admitted
	std::deque<Committed> pending;   // delivered, and not judged yet
	std::map<std::string, std::string> policies = {
	    {"", ""}, {"ann", "a < 4"}, {"bob", "v <> 2"}, {"cid", "id third 1"}};
	uint64_t xid = 100, undisturbed = 100;
	bool large = false;  // one of those that are pending is judged in more than one slice
	int deliveries = 0, entered = 0, left = 0, resumed = 0, policy_changes = 0, left_out = 0;

	size_t any(size_t below) { return random() % below; }
	static std::string name_of(uint32_t relation) { return "t" + std::to_string(relation); }
	Row some_row(int id)
	{
		Row row = {id};
		for (size_t i = 1; i < kColumns; ++i)
			row[i] = any(8) == 0 ? std::nullopt : std::optional<int>(any(kValues));
		return row;
	}

	// --- What somebody is owed.

	void owe(Modelled& model, const Committed& committed, const std::string& only = "")
	{
		std::map<std::string, std::vector<std::string>> by_id;
		for (const auto& [id, watch] : model.watches) {
			if (!only.empty() && id != only) continue;
			for (const Happening& happening : committed.happenings)
				if (std::string said = said_of(watch, policies.at(model.name), happening); !said.empty()) {
					entered += said.starts_with("insert") && said.ends_with("cause");
					left += said.starts_with("delete") && said.ends_with("cause");
					by_id[id].push_back(std::move(said));
				}
		}
		if (!by_id.empty()) model.owed.push_back(joined(committed.xid, only, by_id));
		for (const uint32_t relation : committed.resets)
			for (const auto& [id, watch] : model.watches)
				if (watch.relation == relation && (only.empty() || id == only)) model.owed.push_back("reset " + id);
	}
	// What the hub has let into its log since.
	void note_admitted()
	{
		for (; !pending.empty() && pending.front().xid <= hub.place(); pending.pop_front()) {
			for (auto& [client, model] : models)
				owe(model, pending.front());
			if (!pending.front().resets.empty()) undisturbed = pending.front().xid;
			history.push_back(pending.front());
		}
		if (pending.empty()) large = false;
	}
	void judge_all()
	{
		judge();
		note_admitted();
		EXPECT_TRUE(pending.empty());
	}

	// --- What a client does.

	std::string some_condition()
	{
		std::string condition;
		for (size_t terms = any(3); terms > 0; --terms) {
			if (!condition.empty()) condition += " and ";
			const std::string column = kNames[any(10) == 0 ? 0 : 1 + any(3)];
			const int x = static_cast<int>(any(kValues)), y = static_cast<int>(any(kValues));
			switch (any(8)) {
				case 0:
					condition += column + " in 3 " + std::to_string(x) + " " + std::to_string(y) + " 0";
					break;
				case 1:
					condition +=
					    column + " between " + std::to_string(std::min(x, y)) + " " + std::to_string(std::max(x, y));
					break;
				case 2:
					condition += column + " < " + std::to_string(x);
					break;
				case 3:
					condition += column + " isnull";
					break;
				case 4:
					condition += "id third " + std::to_string(x % 3);
					break;
				default:
					condition += column + " = " + std::to_string(x);
			}
		}
		return condition;
	}
	void subscribe_something(Client& client, Modelled& model)
	{
		const std::string id(1, static_cast<char>('a' + any(8)));
		if (any(3) == 0) {
			// Who still catches up is the more interesting to leave.
			for (const auto& [other, watch] : model.watches)
				if (lacks(client, other)) return unsubscribe(client, model, std::string(other));
		}
		if (model.watches.contains(id)) {
			unsubscribe(client, model, id);
			if (any(3) > 0) return;
		}
		Watch watch;
		watch.relation = static_cast<uint32_t>(1 + any(kTables));
		watch.where = some_condition();
		for (const std::string& op : kOpNames)
			if (any(5) > 0) watch.events.push_back(op);
		if (watch.events.empty()) watch.events = kOpNames;
		std::string more = ",\"events\":[";
		for (const std::string& op : watch.events)
			more += (op == watch.events.front() ? "\"" : ",\"") + op + "\"";
		more += "]";
		if (any(3) == 0) {
			watch.columns.emplace();
			more += ",\"columns\":[";
			for (size_t i = 0; i < kColumns; ++i)
				if (any(2) == 0) {
					more += (watch.columns->empty() ? "\"" : ",\"") + std::string(kNames[i]) + "\"";
					watch.columns->push_back(i);
				}
			more += "]";
		}
		if (!watch.where.empty()) more += ",\"where\":\"" + watch.where + "\"";
		// Back from some transaction that no reset and no other rights stand behind.
		std::optional<size_t> since;
		if (any(3) == 0) {
			judge_all();
			const size_t place = history.size() - std::min<size_t>(history.size(), 1 + any(20));
			if (place < history.size() && history[place].xid > undisturbed) since = place;
		}
		if (since) {
			// What its rights are said to have been is what they are.
			const auto [known, fresh] =
			    suffixes.try_emplace(model.name + "/" + policies.at(model.name) + name_of(watch.relation));
			if (fresh) known->second = ask_suffix(client, watch.relation);
			more += ",\"since\":\"e-" + std::to_string(history[*since].xid) + known->second + "\"";
			subscribe(client, id, name_of(watch.relation), more);
		} else {
			subscribe(client, id, name_of(watch.relation), more);
		}
		model.watches.emplace(id, watch);
		model.owed.push_back("subscribed " + id + (since ? " resumed" : ""));
		if (!since) return;
		++resumed;
		for (size_t place = *since + 1; place < history.size(); ++place)
			owe(model, history[place], id);
	}
	// How a position says what the client's rights on the table are, as the hub tells somebody like it.
	std::map<std::string, std::string> suffixes;
	std::string ask_suffix(const Client& client, uint32_t relation)
	{
		Client& other = models.at(&client).name.empty() ? connect() : connect_as(models.at(&client).name);
		read(other);
		subscribe(other, "s", name_of(relation));
		const test::Json root = test::parse(frame(other));
		const std::string position = test::text_of(root.get(), "position");
		hub.close(*other.session);
		clients.pop_back();
		const size_t at = position.find('!');
		return at == std::string::npos ? "" : position.substr(at);
	}
	// Whether something still waits for the client that the subscription catches up on.
	static bool lacks(const Client& client, const std::string& id)
	{
		const std::vector<Waiting>& waiting = client.session->waiting;
		return std::any_of(waiting.begin(), waiting.end(), [&](const Waiting& item) {
			return item.audience && item.audience->catches_up() && item.audience->catchup_id() == id && !item.cut;
		});
	}
	void unsubscribe(Client& client, Modelled& model, const std::string& id)
	{
		if (any(2) == 0) catch_up(client);
		if (lacks(client, id)) {
			test::leave_out(model.owed, model.had.size(), id);
			++left_out;
		}
		ask(client, R"({"type":"unsubscribe","id":")" + id + "\"}");
		model.watches.erase(id);
		model.owed.push_back("unsubscribed " + id);
	}
	void leave(const Client& client)
	{
		hub.close(*client.session);
		models.erase(&client);
		clients.erase(
		    std::find_if(clients.begin(), clients.end(), [&](const auto& each) { return each.get() == &client; }));
	}

	// --- Reading.

	// What is caught up on is judged when somebody has come to it.
	void catch_up(Client& client)
	{
		do {
			judge_all();
			read_all(client);
		} while (hub.has_to_judge());
	}
	void read_all(Client& client)
	{
		Modelled& model = models.at(&client);
		for (std::string text = frame(client); !text.empty(); text = frame(client)) {
			const test::Json root = test::parse(text);
			ASSERT_TRUE(root) << text;
			if (!json_is_array(root.get())) take(model, root.get());
			for (size_t i = 0; json_is_array(root.get()) && i < json_array_size(root.get()); ++i)
				take(model, json_array_get(root.get(), i));
		}
	}
	void take(Modelled& model, const json_t* message)
	{
		const std::string type = test::text_of(message, "type");
		if (type == "welcome" || type == "position") return;
		if (type != "transaction") {
			EXPECT_FALSE(model.in_parts) << type << " between parts";
			const bool has_resumed = json_is_true(json_object_get(message, "resumed"));
			model.had.push_back(type + " " + test::text_of(message, "id") + (has_resumed ? " resumed" : "") +
			                    test::text_of(message, "code"));
			return;
		}
		const json_t* changes = json_object_get(message, "changes");
		for (size_t i = 0; i < json_array_size(changes); ++i) {
			const json_t* change = json_array_get(changes, i);
			std::string said = test::text_of(change, "op");
			for (const char* part : {"key", "new", "old"})
				if (const json_t* value = json_object_get(change, part))
					said += std::string(" ") + part + " " + test::dump(value);
			if (test::text_of(change, "cause") == "update") said += " cause";
			const json_t* ids = json_object_get(change, "ids");
			for (size_t j = 0; j < json_array_size(ids); ++j)
				model.unfinished[json_string_value(json_array_get(ids, j))].push_back(said);
		}
		model.in_parts = json_is_true(json_object_get(message, "more"));
		if (model.in_parts) return;
		model.had.push_back(joined(std::strtoull(test::text_of(message, "xid").c_str(), nullptr, 10),
		                           test::text_of(message, "catchup"), std::exchange(model.unfinished, {})));
		++deliveries;
	}

	// --- What happens in the database.

	void something_commits()
	{
		Committed committed;
		Body body;
		std::map<uint32_t, uint32_t> places;
		const size_t count = any(25) == 0 ? 40 + any(300) : 1 + any(6);
		for (size_t i = 0; i < count; ++i) {
			Happening happening;
			happening.relation = static_cast<uint32_t>(1 + any(kTables));
			std::map<int, Row>& table = tables[happening.relation];
			const ShapePtr& shape = catalog.tables.at("public." + name_of(happening.relation)).shape;
			if (!places.contains(happening.relation)) places[happening.relation] = body.shape(*shape);
			const uint32_t place = places[happening.relation];
			const auto values = [](const Row& row) {
				Body::Values all;
				for (size_t column = 0; column < kColumns; ++column)
					all.push_back(json_of(row, column));
				return all;
			};
			const int id = static_cast<int>(any(kKeys));
			const auto found = table.find(id);
			if (any(60) == 0) {
				happening.op = Op::truncate;
				body.truncate(place);
				table.clear();
			} else if (found == table.end()) {
				happening.now = some_row(id);
				body.row(Tag::insert, place, values(happening.now));
				table.emplace(id, happening.now);
			} else if (any(4) == 0) {
				happening.op = Op::remove;
				happening.before = found->second;
				body.row(Tag::remove, place, values(happening.before));
				table.erase(found);
			} else {
				happening.op = Op::update;
				happening.before = happening.now = found->second;
				const Row other = some_row(static_cast<int>(any(kKeys)));
				for (size_t column = 1; column < kColumns; ++column)
					if (any(2) == 0) happening.now[column] = other[column];
				if (any(5) == 0 && !table.contains(*other[0])) happening.now[0] = other[0];
				Body::Former former;
				for (size_t column = 0; column < kColumns; ++column)
					if (happening.before[column] != happening.now[column])
						former.emplace_back(static_cast<uint32_t>(column), json_of(happening.before, column));
				body.update(place, values(happening.now), former);
				table.erase(found);
				table.emplace(*happening.now[0], happening.now);
			}
			committed.happenings.push_back(happening);
		}
		if (any(40) == 0) {
			committed.resets.push_back(static_cast<uint32_t>(1 + any(kTables)));
			body.reset(committed.resets.back(), "on a whim");
		}
		large |= count > 10;
		committed.xid = ++xid;
		pending.push_back(committed);
		deliver(xid, body);
		note_admitted();
	}
	// Another policy for one identity: whoever has it begins anew.
	void a_policy_changes()
	{
		// What waits is judged anew for who catches up, so nobody's is exactly what it was.
		for (const auto& client : clients)
			catch_up(*client);
		const char* const names[] = {"ann", "bob", "cid"};
		const std::string name = names[any(3)];
		std::string other = some_condition();
		if (other.empty() || other == policies[name]) return;
		policies[name] = other;
		++policy_changes;
		look();
		judge_all();
		for (auto& [client, model] : models)
			if (model.name == name)
				for (const auto& [id, watch] : model.watches)
					model.owed.push_back("reset " + id);
		undisturbed = xid;
	}

	// Who has come to what must be judged again begins anew.
	void the_database_is_away()
	{
		judge_all();
		std::vector<std::pair<Client*, std::string>> lacking;
		for (const auto& client : clients) {
			read_all(*client);
			for (const auto& [id, watch] : models.at(client.get()).watches)
				if (lacks(*client, id)) lacking.emplace_back(client.get(), id);
		}
		evaluator.throws = true;
		for (int i = 0; i < 11 && hub.has_to_judge(); ++i)
			EXPECT_THROW(hub.judge(std::chrono::steady_clock::time_point::max()), std::runtime_error);
		evaluator.throws = false;
		for (const auto& [client, id] : lacking)
			if (Modelled& model = models.at(client); !lacks(*client, id)) {
				test::leave_out(model.owed, model.had.size(), id, "reset " + id);
				++left_out;
			}
	}

	void compare(Modelled& model)
	{
		EXPECT_EQ(canonical(model.had), canonical(model.owed)) << "of " << (model.name.empty() ? "nobody" : model.name);
		model.had.clear();
		model.owed.clear();
	}
};

TEST_F(HubFiltersModel, EachSubscriptionSeesWhatItsConditionAndItsRightsLetPass)
{
	const char* const given = std::getenv("PLANK_SEED");
	const auto seed = given ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
	SCOPED_TRACE("PLANK_SEED=" + std::to_string(seed));
	random.seed(seed);
	for (uint32_t relation = 1; relation <= kTables; ++relation) {
		test::FakeCatalog::Table& table = catalog.tables["public." + name_of(relation)];
		table.shape = std::make_shared<Shape>(
		    test::shape_of(relation, "public." + name_of(relation),
		                   {{"id", "integer"}, {"a", "integer"}, {"b", "integer"}, {"v", "text"}}, {0}));
		table.secured = {"web"};
	}
	// By name, so that no two identities have the same policy.
	evaluator.policy = [this](const Identity& identity) {
		const auto found = policies.find(identity.claims);
		return found == policies.end() || found->first.empty() ? "" : found->first + ":" + found->second;
	};
	evaluator.judge = [](const test::FakeEvaluator::Filter& filter, const test::FakeEvaluator::Row& row) {
		const auto value_of = [&](size_t column) -> std::optional<int> {
			const std::string_view text = row[column];
			if (text.empty()) return std::nullopt;
			return std::atoi(std::string(text.substr(text.front() == '"')).c_str());
		};
		const size_t policy = filter.policy.find(':');
		return holds(filter.text, value_of) &&
		       (policy == std::string::npos || holds(filter.policy.substr(policy + 1), value_of));
	};
	const std::string names[] = {"", "ann", "bob", "cid"};
	for (int step = 0; step < kSteps && !HasFailure(); ++step) {
		if (clients.size() < 10 && any(10) == 0) {
			const std::string& name = names[any(4)];
			Client& client = name.empty() ? connect() : connect_as(name);
			models[&client].name = name;
			models[&client].diligent = any(2) == 0;
		}
		if (!clients.empty()) {
			Client& client = *clients[any(clients.size())];
			Modelled& model = models.at(&client);
			// No request is answered in the midst of a transaction, and none while much waits.
			if (large || client.session->waiting.size() > 60) judge_all();
			if (any(100) == 0) {
				leave(client);
			} else if (any(3) == 0) {
				if (any(2) == 0) read_all(client);
				subscribe_something(client, model);
			}
		}
		if (any(2) == 0) something_commits();
		if (any(150) == 0) a_policy_changes();
		if (any(80) == 0) the_database_is_away();
		switch (any(3)) {
			case 0:
				judge_all();
				break;
			case 1:
				hub.judge(std::chrono::steady_clock::time_point{});
				note_admitted();
				break;
			default:
				break;
		}
		hub.begin_turn(std::chrono::steady_clock::time_point::max());
		for (const auto& client : clients)
			if (models.at(client.get()).diligent || any(20) == 0) read_all(*client);
		EXPECT_EQ(hub.trim(), "");
		if (step % 50 != 49) continue;
		for (const auto& client : clients)
			catch_up(*client);
		for (const auto& client : clients)
			compare(models.at(client.get()));
	}
	EXPECT_GT(deliveries, 0);
	EXPECT_GT(entered, 0);
	EXPECT_GT(left, 0);
	EXPECT_GT(resumed, 0);
	EXPECT_GT(left_out, 0);
	while (!clients.empty())
		leave(*clients.back());
	judge();
	EXPECT_EQ(hub.counters().subscriptions, 0u);
	EXPECT_EQ(evaluator.all.size(), 0u);
}

}  // namespace
}  // namespace plank::core
