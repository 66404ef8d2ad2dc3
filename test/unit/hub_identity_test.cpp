// Who a session is: tokens at the door and later, what changes with another identity, and whom an end concerns.
#include "core/allowance.hpp"
#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using test::HubFixture;

// "role/claims" is a good token, with "!SECONDS" behind it one that ends then; anything else is refused.
class FakeGate final : public Gate {
 public:
	bool throws = false;
	Admission admit(std::string_view token) override
	{
		if (throws) throw std::runtime_error("the gate is away");
		const size_t slash = token.find('/');
		if (slash == std::string_view::npos) return {nullptr, "bad token", "a hint"};
		auto identity = std::make_shared<Identity>();
		identity->role = token.substr(0, slash);
		identity->key = token.substr(0, token.find('!'));
		const size_t end = token.find('!');
		identity->expires_at = identity->ends_at =
		    end == std::string_view::npos ? 0 : 1000000 * std::stoll(std::string(token.substr(end + 1)));
		if (end == std::string_view::npos) identity->ends_at = Identity::kNever;
		identity->token = std::make_shared<int>(0);
		return {identity, "", ""};
	}
};

struct HubIdentity : HubFixture {
	HubIdentity() { hub.set_gate(gate); }
	~HubIdentity() override
	{
		for (const auto& client : clients)
			if (client->session) hub.close(*client->session);
	}
	Client& bring(const std::string& token)
	{
		clients.push_back(std::make_unique<Client>());
		Client& client = *clients.back();
		client.session = &hub.open_with_token(client.link, "s", token);
		return client;
	}
	static std::string auth(const std::string& token) { return R"({"type":"auth","id":"t","token":")" + token + "\"}"; }
	FakeGate gate;
};

TEST_F(HubIdentity, WelcomeWaitsForTheTokenAndEverythingElseWaitsBehindIt)
{
	table(1, "items");
	Client& client = bring("team/1");
	hub.receive(*client.session, R"({"type":"ping"})");
	hub.receive(*client.session, R"({"type":"subscribe","id":"a","table":"items"})");
	EXPECT_EQ(read(client), "");
	answer();
	EXPECT_EQ(read(client), "welcome pong subscribed:a");
	EXPECT_EQ(client.session->role, "team");
}

TEST_F(HubIdentity, ABadTokenIsRefusedInWordsThenClosed)
{
	Client& early = bring("bad");
	hub.receive(*early.session, R"({"type":"ping"})");
	answer();
	EXPECT_EQ(read(early), "welcome error:28000");
	EXPECT_EQ(early.link.closed, 4001);
	Client& late = connect();
	ask(late, auth("bad"));
	EXPECT_EQ(read(late), "error:t:28000");
	EXPECT_EQ(late.link.closed, 4001);
	EXPECT_TRUE(late.link.drains);
}

TEST_F(HubIdentity, TroubleAtTheGateIsNotTheClientsFault)
{
	gate.throws = true;
	Client& client = bring("team/1");
	EXPECT_THROW(answer(), std::runtime_error);
	EXPECT_EQ(read(client), "welcome error:XX000");
	EXPECT_EQ(client.link.closed, 0);
	gate.throws = false;
	ask(client, auth("team/1"));
	EXPECT_EQ(read(client), "authenticated:t");
}

TEST_F(HubIdentity, WithoutAGateNoTokenIsGood)
{
	Hub other(limits(), {catalog, past, evaluator, snapshots, [this] { return now; }});
	test::FakeLink link;
	Session& session = other.open_with_token(link, "s", "team/1");
	other.process_requests(std::chrono::steady_clock::time_point::max());
	EXPECT_EQ(link.closed, 4001);
	other.close(session);
}

TEST_F(HubIdentity, TheSameIdentityKeepsSubscriptionsAnotherEndsThem)
{
	const Shape items = table(1, "items");
	Client& client = bring("team/1");
	subscribe(client, "a", "items");
	ask(client, auth("team/1!100"));
	deliver_row(1, items);
	EXPECT_EQ(read(client), "welcome subscribed:a authenticated:t transaction:1");
	ask(client, auth("team/2"));
	EXPECT_EQ(read(client), "unsubscribed:a:28000 authenticated:t");
	deliver_row(2, items);
	EXPECT_EQ(read(client), "");
	subscribe(client, "a", "items");
	deliver_row(3, items);
	EXPECT_EQ(read(client), "subscribed:a transaction:3");
	ask(client, auth("boss/2"));
	EXPECT_EQ(read(client), "unsubscribed:a:28000 authenticated:t");
	EXPECT_EQ(client.session->role, "boss");
	EXPECT_FALSE(hub.anybody_watches(1));
}

TEST_F(HubIdentity, OneAudienceIsNeverSharedByTwoIdentities)
{
	table(1, "items");
	Client *one = &bring("team/1"), *same = &bring("team/1!100"), *other = &bring("team/2"),
	       *anonymous = &connect("team");
	for (Client* client : {one, same, other, anonymous})
		subscribe(*client, "a", "items");
	EXPECT_EQ(one->session->audience, same->session->audience);
	EXPECT_NE(one->session->audience, other->session->audience);
	EXPECT_NE(one->session->audience, anonymous->session->audience);
	EXPECT_NE(other->session->audience, anonymous->session->audience);
}

TEST_F(HubIdentity, AnExpiredTokenEndsItsConnectionAndARenewedOneDoesNot)
{
	table(1, "items");
	Client &ends = bring("team/1!100"), &renewed = bring("team/1!100"), &anonymous = connect();
	subscribe(ends, "a", "items");
	now = 99'999'999;
	hub.end_expired();
	EXPECT_EQ(ends.link.closed, 0);
	ask(renewed, auth("team/1!200"));
	now = 100'000'000;
	hub.end_expired();
	EXPECT_EQ(read(ends), "welcome subscribed:a unsubscribed:a:28000");
	EXPECT_EQ(ends.link.closed, 4001);
	EXPECT_EQ(renewed.link.closed, 0);
	EXPECT_EQ(anonymous.link.closed, 0);
}

TEST_F(HubIdentity, AnEndConcernsThoseWhomTheJudgeNames)
{
	Client &team = bring("team/1"), &web = connect("web"), &nobody = connect("");
	answer();
	hub.end_identities([](const Identity& identity) { return identity.role == "team" ? "gone" : nullptr; });
	EXPECT_EQ(team.link.closed, 4001);
	EXPECT_EQ(web.link.closed, 0);
	EXPECT_EQ(nobody.link.closed, 0);
}

TEST_F(HubIdentity, RequestsBeyondTheRateWait)
{
	table(1, "items");
	HubLimits slow = limits();
	slow.subscribe_rate = 1;
	hub.set_limits(slow);
	Client& client = connect();
	for (int i = 0; i < 12; ++i)
		hub.receive(*client.session, R"({"type":"subscribe","id":")" + std::to_string(i) + R"(","table":"items"})");
	hub.receive(*client.session, R"({"type":"ping"})");
	answer();
	EXPECT_EQ(client.session->subscriptions.size(), 10u);
	EXPECT_TRUE(hub.has_delayed_requests());
	// The last answer is none to the ping, which came later.
	const std::string told = read(client);
	EXPECT_EQ(told.find("pong"), std::string::npos);
	slow.subscribe_rate = 0;
	hub.set_limits(slow);
	const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(5);
	while (hub.has_requests() && std::chrono::steady_clock::now() < patience)
		answer();
	EXPECT_EQ(read(client), "subscribed:10 subscribed:11 pong");
}

TEST(Allowance, IsABurstAndThenTheRate)
{
	Allowance allowance;
	EXPECT_TRUE(allowance.rested(5));
	int taken = 0;
	while (allowance.take(1000, 5))
		++taken;
	EXPECT_EQ(taken, 50);
	EXPECT_FALSE(allowance.take(1199, 5));
	EXPECT_TRUE(allowance.take(1200, 5));
	EXPECT_FALSE(allowance.take(1200, 5));
	EXPECT_FALSE(allowance.rested(11199));
	EXPECT_TRUE(allowance.rested(11200));
	for (taken = 0; allowance.take(1'000'000'000'000, 5);)
		++taken;
	EXPECT_EQ(taken, 50);
	for (int i = 0; i < 1000; ++i)
		EXPECT_TRUE(allowance.take(0, 0));
}

}  // namespace
}  // namespace plank::core
