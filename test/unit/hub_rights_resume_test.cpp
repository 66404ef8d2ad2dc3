// Coming back with a position after what may be seen of the table has changed.
#include "core/rights.hpp"

#include "hub_rights.hpp"

namespace plank::core {
namespace {

TEST_F(Rights, NobodyResumesOverAChangeOfWhatMayBeSeen)
{
	const auto resume = [&](const std::string& since) {
		Client& client = connect();
		subscribe(client, "a", "items", R"(,"since":")" + since + "\"");
		return read(client).substr(0, 20);
	};
	const auto position = [&] {
		Client& client = connect();
		subscribe(client, "a", "items");
		const std::string told = all(client);
		const size_t from = told.find("\"position\":\"") + 12;
		return told.substr(from, told.find('"', from) - from);
	};
	insert(10, "\"x\"");
	const std::string open = position();
	EXPECT_EQ(open, "e-10");
	allow("items", {"id", "v"});
	look();
	const std::string limited = position();
	secure(by_name);
	look();
	const std::string secured = position();
	insert(11, "\"x\"");
	EXPECT_EQ(resume(open), "subscribed:a reset:a");
	EXPECT_EQ(resume(limited), "subscribed:a reset:a");
	EXPECT_FALSE(resume(secured).ends_with("reset:a"));
	secure({});
	catalog.tables.at("public.items").secured.clear();
	look();
	EXPECT_EQ(resume(secured), "subscribed:a reset:a");
	EXPECT_FALSE(resume(limited).ends_with("reset:a"));
	catalog.tables.at("public.items").readable.clear();
	look();
	EXPECT_EQ(resume(limited), "subscribed:a reset:a");
	EXPECT_EQ(resume(open), "subscribed:a transac");
	for (const char* bad : {"e-10!", "e-10!x", "e-10!1", "e-10!1.", "e-10!1.zz", "e-10!9999999999.1", "e-10!1.1.1.1"})
		EXPECT_FALSE(resume(bad).empty()) << bad;
}

}  // namespace
}  // namespace plank::core
