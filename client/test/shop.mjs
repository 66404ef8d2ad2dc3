// Plausible traffic of the example shop, to as many subscriptions as there are. Deterministic.

const names = ['Ada Lindqvist', 'Tomasz Wrona', 'Mei Tanaka', 'Olu Adeyemi', 'Clara Voss', 'Ines Duarte'];
const items = ['Oak desk', 'Reading lamp', 'Linen shade', 'Walnut shelf', 'Copper kettle', 'Wool blanket'];
const cities = ['Bergen', 'Kraków', 'Osaka', 'Lagos', 'Basel', 'Porto'];

/** What is there before the traffic. */
export const rowsOfShop = {
	'public.customers': Array.from({ length: 12 }, (_, i) => ({
		id: String(180 + i), name: names[i % 6], email: `${names[i % 6].split(' ')[0].toLowerCase()}@example.org`, city: cities[i % 6],
	})),
	'public.items': items.map((name, i) => ({ id: String(i + 1), name, price: (19 + 13 * i).toFixed(2), stock: 40 })),
	'public.orders': Array.from({ length: 40 }, (_, i) => ({ id: String(3_078 + i), customer_id: String(1 + (i % 6)), status: 'open', total: (19 + 13 * (i % 6)).toFixed(2) })),
	'sales.daily': [{ day: new Date().toISOString().slice(0, 10), revenue: '1482.50' }],
};

export class Shop {
	#xid = 81_240;
	#order = 3_117;
	#step = 0;
	#revenue = 1_482.5;
	#subscriptions;
	#time;

	/** `subscriptions`: id to table, as the fake server keeps them. */
	constructor(subscriptions, time = Date.now()) {
		this.#subscriptions = subscriptions;
		this.#time = time;
	}

	/** The next transaction. */
	next() {
		const n = (this.#step += 1);
		const changes = this.#changes(n).map((change) => ({ ids: this.#ids(change.table), ...change })).filter(({ ids }) => ids.length > 0);
		this.#time += 437;
		this.#xid += 1 + (n % 3);
		return {
			type: 'transaction', xid: String(this.#xid), position: String(n), more: false, changes,
			committed_at: new Date(this.#time).toISOString().replace('Z', '123Z'),
		};
	}

	// A table without a key: the whole row before and after.
	#takings(more) {
		const day = new Date(this.#time).toISOString().slice(0, 10);
		const old = { day, revenue: this.#revenue.toFixed(2) };
		this.#revenue += more;
		return { table: 'sales.daily', op: 'update', key: null, old, new: { day, revenue: this.#revenue.toFixed(2) } };
	}

	#ids(table) {
		return [...this.#subscriptions].filter(([, name]) => name === table).map(([id]) => id);
	}

	#changes(n) {
		const item = n % items.length;
		const price = (19 + 13 * item).toFixed(2);
		const table = (name, op, parts) => ({ table: `public.${name}`, op, ...parts });
		const stock = 40 - (n % 30);
		const sold = table('items', 'update', {
			key: { id: String(item + 1) },
			old: { id: String(item + 1), stock },
			new: { id: String(item + 1), name: items[item], price, stock: stock - 1 },
		});
		switch (n % 5) {
			case 0: {
				this.#order += 1;
				const id = String(this.#order);
				return [table('orders', 'insert', { key: { id }, new: { id, customer_id: String(1 + (n % 6)), status: 'open', total: price } }), sold, this.#takings(Number(price))];
			}
			case 1: {
				const id = String(this.#order - 2);
				const row = { id, customer_id: String(1 + (n % 6)), total: price };
				return [table('orders', 'update', { key: { id }, old: { id, status: 'open' }, new: { ...row, status: 'paid' } })];
			}
			case 2: {
				const id = String(200 + n);
				const name = names[n % names.length];
				const email = `${name.split(' ')[0].toLowerCase()}@example.org`;
				return [table('customers', 'insert', { key: { id }, new: { id, name, email, city: cities[n % cities.length] } })];
			}
			case 3: {
				const id = String(this.#order - 40);
				return [table('orders', 'delete', { key: { id }, old: { id, customer_id: '4', status: 'cancelled', total: price } }),
					{ ...sold, old: { ...sold.old, stock: stock - 1 }, new: { ...sold.new, stock } }];
			}
			default: {
				const dearer = (Number(price) + 1.5).toFixed(2);
				return [table('items', 'update', { key: sold.key, old: { id: sold.key.id, price }, new: { ...sold.new, price: dearer } })];
			}
		}
	}
}
