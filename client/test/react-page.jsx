// The page of react.test.mjs: two components on one table, one of them with a condition that the page changes.

import { connect } from '/plank.js';
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useTable } from '/react.js';

const plank = connect(location.href);

function Items({ title, options }) {
	const { rows, state, error } = useTable(plank, 'items', options);
	return (
		<section aria-label={title} data-state={state}>
			{error && <p role="alert">{error.message}</p>}
			<ul>{rows.map(({ id, name }) => <li key={id}>{name}</li>)}</ul>
		</section>
	);
}

function App() {
	const [where, setWhere] = useState('price < 10');
	const [shown, setShown] = useState(true);
	return (
		<>
			<button onClick={() => setWhere('nonsense')}>Break</button>
			<button onClick={() => setShown(false)}>Hide</button>
			<Items title="all" options={{ orderBy: 'name' }} />
			{shown && <Items title="cheap" options={{ where, orderBy: { column: 'id', direction: 'desc' }, limit: 2 }} />}
		</>
	);
}

createRoot(document.getElementById('root')).render(<StrictMode><App /></StrictMode>);
