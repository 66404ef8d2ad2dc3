// Being the client while its rows are read: its role, and its claims where policies look for them. Whatever functions run
// meanwhile leave nothing behind that the next client's could find. Runs in the process that reads.
#pragma once

#include <string>

#include "pg/execution.hpp"

namespace plank::snapshot {

// The role is session_user too, for what functions make of that is not seen. All settings, notifications, messages and
// cursors of the time between are rolled back, on every way out: with a subtransaction, but on a standby, where there can
// be settings only, and where a conflict with recovery ends whatever process is in a subtransaction.
class ClientGuise {
 public:
	// `claims` in the database's encoding. In a transaction that changes nothing. Throws pg::Error.
	ClientGuise(Oid role, const std::string& claims);
	~ClientGuise() { leave(); }
	ClientGuise(const ClientGuise&) = delete;
	ClientGuise& operator=(const ClientGuise&) = delete;

 private:
	void leave() noexcept;

	int level_ = 0;     // of transactions
	int settings_ = 0;  // their level, when they are all that is rolled back
	Oid user_ = InvalidOid, session_user_ = InvalidOid;
	int context_ = 0;
	bool was_superuser_ = false;
};

// Once, before the first client.
void prepare_guises();
// What a subtransaction does not roll back, after each client and outside a transaction: locks of the session, plans.
// False when something stays that cannot be taken back, so that the process must not serve another one. May ereport.
bool forget_client();

}  // namespace plank::snapshot
