// The hub against a model that is simple enough to be right: random subscriptions, transactions, DDL, clients that read much,
// little or never, and a log far too small for them. The model writes down for each client, at once and in full, what it
// is owed; the hub renders late, shares frames, spills and cuts, and in the end each client must have had the same.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using test::Body;

constexpr int kTables = 4;
constexpr int kIds = 3;
constexpr int kSteps = 1500;
constexpr int kDiligent = 1000;  // frames at once: all there are
const std::vector<std::string> kOpNames = {"insert", "update", "delete", "truncate"};
const std::vector<std::string> kChannels = {"jobs", "news"};

// What a client holds under one id.
struct Watch {
	uint32_t relation = 0;  // 0: a channel
	std::string channel;
	std::vector<std::string> events;
	bool as_text = false;
};

struct Modelled {
	std::map<std::string, Watch> watches;
	std::vector<std::string> owed, had;
	std::string unfinished;  // of a transaction in parts
	int diligence = 0;       // frames it reads when it reads; 0: none, ever
};

class HubModel : public test::HubFixture {
 protected:
	std::mt19937 random;
	std::map<const Client*, Modelled> models;
	std::map<uint32_t, std::string> told;  // the shape that a watched table's subscribers know
	uint64_t xid = 100;
	int deliveries = 0;
	bool in_a_hurry = false;  // the turn has time for one frame

	size_t any(size_t below) { return below == 0 ? 0 : random() % below; }
	std::string name_of(uint32_t relation) const { return "t" + std::to_string(relation); }
	const ShapePtr& shape_now(uint32_t relation) { return catalog.tables.at("public." + name_of(relation)).shape; }

	bool watched(uint32_t relation) const
	{
		for (const auto& [client, model] : models)
			for (const auto& [id, watch] : model.watches)
				if (watch.relation == relation) return true;
		return false;
	}
	// A shape that differs from the one known is told to everybody who watches.
	void model_shape(uint32_t relation)
	{
		if (!watched(relation)) {
			told.erase(relation);
			return;
		}
		const std::string& identity = shape_now(relation)->identity;
		if (std::exchange(told[relation], identity) == identity) return;
		for (auto& [client, model] : models)
			for (const auto& [id, watch] : model.watches)
				if (watch.relation == relation) model.owed.push_back("subscribed " + id);
	}

	// --- What a client does.

	// One that has much to read is not asked to ask: the hub would let its requests wait.
	bool may_ask(const Client& client) const { return client.session->waiting.size() < 60; }

	// Something new, or what another client watches: who watches the same shares frames.
	std::pair<std::string, Watch> something_to_watch()
	{
		const Modelled& other = models.at(clients[any(clients.size())].get());
		if (any(4) > 0 && !other.watches.empty())
			return *std::next(other.watches.begin(), static_cast<ptrdiff_t>(any(other.watches.size())));
		Watch watch;
		if (any(5) == 0) {
			watch.channel = kChannels[any(kChannels.size())];
		} else {
			watch.relation = static_cast<uint32_t>(1 + any(kTables));
			for (const std::string& op : kOpNames)
				if (any(3) > 0) watch.events.push_back(op);
			if (watch.events.empty()) watch.events = kOpNames;
			watch.as_text = any(3) == 0;
		}
		return {std::string(1, static_cast<char>('a' + any(kIds))), watch};
	}
	void subscribe_something(Client& client, Modelled& model)
	{
		const auto [id, watch] = something_to_watch();
		if (model.watches.contains(id)) return refuse(client, model, id);
		if (!watch.relation) {
			subscribe_channel(client, id, watch.channel);
		} else {
			std::string more = R"(,"events":[)";
			for (const std::string& op : watch.events)
				more += (op == watch.events.front() ? "\"" : ",\"") + op + "\"";
			subscribe(client, id, name_of(watch.relation), more + (watch.as_text ? R"(],"numbers":"text")" : "]"));
			model_shape(watch.relation);
			told[watch.relation] = shape_now(watch.relation)->identity;
		}
		model.watches.emplace(id, watch);
		model.owed.push_back("subscribed " + id);
	}
	void refuse(Client& client, Modelled& model, const std::string& id)
	{
		subscribe(client, id, name_of(1));
		model.owed.push_back("error " + id + " 22023");
	}
	void unsubscribe_something(Client& client, Modelled& model)
	{
		const std::string id(1, static_cast<char>('a' + any(kIds)));
		ask(client, R"({"type":"unsubscribe","id":")" + id + "\"}");
		const bool was = model.watches.erase(id) > 0;
		model.owed.push_back(was ? "unsubscribed " + id : "error " + id + " 22023");
		forget_unwatched();
	}
	void forget_unwatched()
	{
		for (uint32_t relation = 1; relation <= kTables; ++relation)
			if (!watched(relation)) told.erase(relation);
	}
	void ping(Client& client, Modelled& model)
	{
		ask(client, R"({"type":"ping","id":"p"})");
		model.owed.push_back("pong p");
	}

	void leave(const Client& client)
	{
		hub.close(*client.session);
		models.erase(&client);
		clients.erase(
		    std::find_if(clients.begin(), clients.end(), [&](const auto& each) { return each.get() == &client; }));
		forget_unwatched();
	}

	// --- Reading.

	void read_frames(Client& client, Modelled& model, int count)
	{
		for (; count > 0; --count) {
			const std::string text = frame(client);
			if (text.empty()) return;
			const test::Json root = test::parse(text);
			ASSERT_TRUE(root) << text;
			if (!json_is_array(root.get())) {
				take(model, root.get());
				continue;
			}
			for (size_t i = 0; i < json_array_size(root.get()); ++i)
				take(model, json_array_get(root.get(), i));
		}
	}
	void take(Modelled& model, const json_t* message)
	{
		const std::string type = test::text_of(message, "type");
		if (type == "position") {
			EXPECT_EQ(model.unfinished, "") << "a position between parts";
			return;
		}
		if (type == "welcome") return;
		if (type != "transaction") {
			EXPECT_TRUE(type == "pong" || model.unfinished.empty()) << type << " between parts";
			std::string said = type + " " + test::text_of(message, "id");
			if (!test::text_of(message, "code").empty()) said += " " + test::text_of(message, "code");
			model.had.push_back(said);
			return;
		}
		const std::string head = "transaction " + test::text_of(message, "xid");
		if (model.unfinished.empty())
			model.unfinished = head;
		else
			EXPECT_EQ(model.unfinished.compare(0, head.size(), head), 0) << "parts of two transactions mixed";
		const json_t* changes = json_object_get(message, "changes");
		for (size_t i = 0; i < json_array_size(changes); ++i)
			model.unfinished += "\n" + said_of(json_array_get(changes, i));
		if (json_is_true(json_object_get(message, "more"))) {
			EXPECT_FALSE(json_object_get(message, "position"));
			return;
		}
		EXPECT_EQ(test::text_of(message, "position"), "e-" + test::text_of(message, "xid"));
		model.had.push_back(std::exchange(model.unfinished, ""));
		++deliveries;
	}
	static std::string said_of(const json_t* change)
	{
		std::vector<std::string> ids;
		const json_t* list = json_object_get(change, "ids");
		for (size_t i = 0; i < json_array_size(list); ++i)
			ids.emplace_back(json_string_value(json_array_get(list, i)));
		std::sort(ids.begin(), ids.end());
		std::string said;
		for (const std::string& id : ids)
			said += id;
		said +=
		    " " + test::text_of(change, "op") + " " + test::text_of(change, "table") + test::text_of(change, "channel");
		for (const char* part : {"new", "old", "payload"})
			if (const json_t* value = json_object_get(change, part)) said += " " + test::dump(value);
		return said;
	}

	// --- What happens in the database.

	// A change as the model sees it: for whom in which form, and the rest of what is said of it.
	struct Happening {
		uint32_t relation = 0;
		std::string channel, op;
		std::string as_json, as_text;
	};

	std::string row_json(const ShapePtr& shape, const std::string& id, const std::string& v, bool as_text) const
	{
		std::map<std::string, std::string> members = {{"id", as_text ? "\"" + id + "\"" : id}, {"v", v}};
		for (size_t i = 2; i < shape->columns.size(); ++i)
			members[shape->columns[i].name] = "null";
		std::string out = "{";
		for (const auto& [name, value] : members)
			out += (out.size() > 1 ? ",\"" : "\"") + name + "\":" + value;
		return out + "}";
	}
	void something_commits()
	{
		Body body;
		std::vector<Happening> happenings;
		std::map<uint32_t, uint32_t> shape_places;
		std::vector<uint32_t> resets;
		const bool large = any(40) == 0;
		const size_t count = large ? 500 + any(1000) : any(5);
		const std::string padding(large ? 250 : any(20), 'x');
		for (size_t i = 0; i < count; ++i) {
			Happening happening;
			if (any(10) == 0) {
				happening.channel = kChannels[any(kChannels.size())];
				happening.op = "message";
				happening.as_json = happening.as_text = " " + std::to_string(i);
				body.message(happening.channel, std::to_string(i));
				happenings.push_back(happening);
				continue;
			}
			happening.relation = static_cast<uint32_t>(1 + any(kTables));
			const ShapePtr& shape = shape_now(happening.relation);
			if (!shape_places.contains(happening.relation)) shape_places[happening.relation] = body.shape(*shape);
			const uint32_t place = shape_places[happening.relation];
			const std::string id = std::to_string(any(1000)), v = "\"" + padding + std::to_string(i) + "\"";
			Body::Values values = {id, v};
			values.resize(shape->columns.size());
			const auto row = [&](bool as_text) { return " " + row_json(shape, id, v, as_text); };
			switch (any(large ? 3 : 4)) {
				case 0:
					happening.op = "insert";
					body.row(Tag::insert, place, values);
					happening.as_json = row(false);
					happening.as_text = row(true);
					break;
				case 1:
					happening.op = "update";
					body.update(place, values, {{1, "\"was\""}});
					happening.as_json = row(false) + " {\"id\":" + id + ",\"v\":\"was\"}";
					happening.as_text = row(true) + " {\"id\":\"" + id + "\",\"v\":\"was\"}";
					break;
				case 2:
					happening.op = "delete";
					body.row(Tag::remove, place, values);
					happening.as_json = row(false);
					happening.as_text = row(true);
					break;
				default:
					happening.op = "truncate";
					body.truncate(place);
			}
			happenings.push_back(happening);
		}
		if (any(8) == 0) {
			resets.push_back(static_cast<uint32_t>(1 + any(kTables)));
			body.reset(resets.back(), "on a whim");
		}
		std::vector<uint32_t> touched;
		for (const auto& [relation, place] : shape_places)
			touched.push_back(place);
		// The hub announces shapes in the transaction's own order of them.
		std::sort(touched.begin(), touched.end());
		for (const uint32_t place : touched)
			for (const auto& [relation, its_place] : shape_places)
				if (its_place == place) model_shape(relation);
		++xid;
		for (auto& [client, model] : models)
			model_transaction(model, happenings, resets);
		deliver(xid, body);
	}
	void model_transaction(Modelled& model, const std::vector<Happening>& happenings,
	                       const std::vector<uint32_t>& resets)
	{
		std::string said;
		for (const Happening& happening : happenings)
			for (const bool as_text : {false, true}) {
				std::string ids;
				for (const auto& [id, watch] : model.watches) {
					const bool wanted = happening.relation
					                        ? watch.relation == happening.relation && watch.as_text == as_text &&
					                              std::find(watch.events.begin(), watch.events.end(), happening.op) !=
					                                  watch.events.end()
					                        : watch.channel == happening.channel && !watch.relation && !as_text;
					if (wanted) ids += id;
				}
				if (ids.empty()) continue;
				said += "\n" + ids + " " + happening.op + " ";
				said += happening.relation ? "public." + name_of(happening.relation) : happening.channel;
				said += as_text ? happening.as_text : happening.as_json;
			}
		if (!said.empty()) model.owed.push_back("transaction " + std::to_string(xid) + said);
		for (const uint32_t relation : resets)
			owe_resets(model, relation);
	}
	void owe_resets(Modelled& model, uint32_t relation)
	{
		for (const auto& [id, watch] : model.watches)
			if (watch.relation && (relation == 0 || watch.relation == relation)) model.owed.push_back("reset " + id);
	}
	void something_is_lost()
	{
		hub.reset_all("lost");
		for (auto& [client, model] : models)
			owe_resets(model, 0);
	}
	void a_table_changes()
	{
		const uint32_t relation = static_cast<uint32_t>(1 + any(kTables));
		if (shape_now(relation)->columns.size() > 20) return;
		add_column(name_of(relation));
		// Sometimes the worker looks before anybody writes.
		if (any(2) == 0) return;
		look();
		EXPECT_FALSE(hub.has_to_look());
		for (uint32_t each = 1; each <= kTables; ++each)
			model_shape(each);
	}

	// --- Judging.

	// Within a run of equal types the order of ids is the hub's own affair.
	static std::vector<std::string> canonical(std::vector<std::string> said)
	{
		const auto kind = [](const std::string& word) { return word.substr(0, word.find(' ')); };
		for (size_t from = 0; from < said.size();) {
			size_t to = from + 1;
			while (to < said.size() && kind(said[to]) == kind(said[from]) &&
			       (kind(said[from]) == "reset" || kind(said[from]) == "subscribed"))
				++to;
			std::sort(said.begin() + static_cast<ptrdiff_t>(from), said.begin() + static_cast<ptrdiff_t>(to));
			from = to;
		}
		return said;
	}
	void expect_prefix(const Modelled& model)
	{
		// Whole runs only: the last one may be cut off in the middle.
		std::vector<std::string> owed = model.owed;
		ASSERT_LE(model.had.size(), owed.size());
		owed.resize(model.had.size());
		std::vector<std::string> had = model.had;
		const auto is_run = [](const std::string& word) {
			return word.starts_with("reset") || word.starts_with("subscribed");
		};
		while (!had.empty() && is_run(had.back())) {
			had.pop_back();
			owed.pop_back();
		}
		EXPECT_EQ(canonical(had), canonical(owed));
	}
	// Whoever has been cut was cut for being slow, and had everything up to then.
	void bury_the_cut()
	{
		std::vector<Client*> gone;
		for (const auto& client : clients)
			if (client->link.closed) gone.push_back(client.get());
		for (Client* client : gone) {
			EXPECT_EQ(client->link.closed, 4008);
			EXPECT_TRUE(models[client].diligence < kDiligent || in_a_hurry) << "one that always reads was cut";
			expect_prefix(models[client]);
			leave(*client);
		}
	}
};

TEST_F(HubModel, EveryClientGetsExactlyWhatItIsOwed)
{
	const char* const given = std::getenv("PLANK_SEED");
	const auto seed = given ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
	SCOPED_TRACE("PLANK_SEED=" + std::to_string(seed));
	random.seed(seed);
	HubLimits limits;
	limits.log = {64 * 1024, 1536 * 1024, testing::TempDir()};
	hub.set_limits(limits);
	for (uint32_t relation = 1; relation <= kTables; ++relation) {
		Shape shape = test::shape_of(relation, "public." + name_of(relation),
		                             {{"id", "bigint", Numbers::scalar}, {"v", "text"}}, {0});
		catalog.tables["public." + name_of(relation)].shape = std::make_shared<Shape>(shape);
	}
	for (int step = 0; step < kSteps && !HasFailure(); ++step) {
		if (clients.size() < 12 && any(20) == 0) {
			Client& client = connect();
			constexpr int kDiligence[] = {0, 1, 3, kDiligent, kDiligent};
			models[&client].diligence = kDiligence[any(std::size(kDiligence))];
		}
		if (!clients.empty()) {
			Client& client = *clients[any(clients.size())];
			Modelled& model = models[&client];
			switch (any(12)) {
				case 0:
				case 1:
				case 2:
					if (may_ask(client)) subscribe_something(client, model);
					break;
				case 3:
					if (may_ask(client)) unsubscribe_something(client, model);
					break;
				case 4:
					if (may_ask(client)) ping(client, model);
					break;
				case 5:
					if (any(20) == 0) leave(client);
					break;
				default:
					read_frames(client, model, model.diligence);
			}
		}
		if (any(2) == 0) something_commits();
		if (any(60) == 0) a_table_changes();
		if (any(100) == 0) something_is_lost();
		if (any(30) == 0) hub.send_positions();
		// A turn without time for more than one frame, or with time for all.
		in_a_hurry = any(4) == 0;
		hub.begin_turn(in_a_hurry ? std::chrono::steady_clock::time_point::min()
		                          : std::chrono::steady_clock::time_point::max());
		for (const auto& client : clients)
			if (models[client.get()].diligence == kDiligent) read_frames(*client, models[client.get()], kDiligent);
		EXPECT_EQ(hub.trim(), "");
		bury_the_cut();
		// Twice for small transactions that are worth no file, and what is not worth another look.
		EXPECT_LE(hub.log().memory(), 2 * limits.log.memory + limits.log.memory / 16);
		EXPECT_LE(hub.log().spilled(), limits.log.spill);
	}
	hub.begin_turn(std::chrono::steady_clock::time_point::max());
	for (const auto& client : clients) {
		Modelled& model = models[client.get()];
		read_frames(*client, model, 1 << 30);
		EXPECT_EQ(canonical(model.had), canonical(model.owed));
		EXPECT_EQ(hub.waiting(*client->session), 0u);
	}
	EXPECT_GT(deliveries, 0);
	while (!clients.empty())
		leave(*clients.back());
	EXPECT_EQ(hub.counters().subscriptions, 0u);
	for (uint32_t relation = 1; relation <= kTables; ++relation)
		EXPECT_FALSE(hub.anybody_watches(relation));
}

}  // namespace
}  // namespace plank::core
