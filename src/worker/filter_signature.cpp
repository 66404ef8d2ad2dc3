// Signatures are SHA-256: nobody can make a condition that passes for another one's. Runs in the worker, inside pg::call.
#include "worker/filter_signature.hpp"

#include <cstring>

namespace plank::worker {

namespace {

class Signing {
 public:
	Signing() : context_(pg_cryptohash_create(PG_SHA256))
	{
		if (!context_ || pg_cryptohash_init(context_) < 0) fail();
	}
	void bytes(const void* bytes, size_t length)
	{
		if (pg_cryptohash_update(context_, static_cast<const uint8*>(bytes), length) < 0) fail();
	}
	void number(uint64 number) { bytes(&number, sizeof number); }
	void pointer(const void* pointer) { number(reinterpret_cast<uintptr_t>(pointer)); }
	void text(const char* text) { bytes(text, strlen(text) + 1); }
	void datum(Datum value, bool by_value, int16 length)
	{
		if (by_value) return number(value);
		const Size size = datumGetSize(value, by_value, length);
		number(size);
		bytes(DatumGetPointer(value), size);
	}
	void condition(const Condition& condition)
	{
		text(condition.identity);
		ListCell* cell;
		foreach (cell, condition.constants) {
			const auto* const constant = lfirst_node(Const, cell);
			datum(constant->constvalue, constant->constbyval, constant->constlen);
		}
	}
	void finish(Signature* signature)
	{
		if (pg_cryptohash_final(context_, signature->data(), signature->size()) < 0) fail();
		pg_cryptohash_free(context_);
	}

 private:
	[[noreturn]] static void fail()
	{
		ereport(ERROR, (errmsg("could not compute a filter's signature")));
		pg_unreachable();
	}

	pg_cryptohash_ctx* const context_;
};

}  // namespace

void sign_filter(const Condition& condition, Oid role, const FilterTable& table, const Policy* policy,
                 Signature* signature)
{
	Signing signing;
	signing.number(role);
	signing.pointer(&table);
	signing.pointer(policy);
	signing.condition(condition);
	if (const FilterKey* const key = condition.key) {
		signing.number(static_cast<uint64>(key->column));
		signing.number(key->op);
		signing.number(key->collation);
		signing.number(key->constant_type);
		for (int i = 0; i < key->count; ++i)
			signing.datum(key->values[i], key->by_value, key->length);
	}
	signing.finish(signature);
}

void sign_policy(const PolicyTree& tree, const Condition* condition, Oid role, const char* claims,
                 const Signature& definition, Signature* signature)
{
	Signing signing;
	signing.bytes(definition.data(), definition.size());
	signing.number(role);
	if (condition)
		signing.condition(*condition);
	else
		signing.text(nodeToString(tree.condition));
	signing.text(tree.reads_session ? claims : "");
	signing.finish(signature);
}

void sign_text(const char* text, Signature* signature)
{
	Signing signing;
	signing.text(text);
	signing.finish(signature);
}

}  // namespace plank::worker
