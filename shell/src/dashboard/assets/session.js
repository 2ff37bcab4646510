// Who this browser is to the server, and so which actions it is offered. The server decides; this only spares refusals.

import { api } from './api.js';

const OPERATORS = ['operate', 'admin'];

/** `required`: the server wants tokens. `role`: null until one was given. */
export const session = { principal: null, role: null, required: false };

/** Asks the server anew. */
export async function refreshSession() {
  let told;
  try {
    told = await api.session();
  } catch (error) {
    if (error.status !== 401 && error.status !== 404) throw error;
    // A server that knows no sessions wants no token.
    told = { required: error.status === 401 };
  }
  session.principal = told.principal ?? null;
  session.role = told.role ?? null;
  session.required = Boolean(told.required);
}

/** Whether a token must be given first. */
export const mustSignIn = () => session.required && session.role === null;
/** Whether the audit log is shown. */
export const mayAudit = () => !session.required || session.role === 'admin';
/** Whether the buttons that change tasks, queues and nodes are of use. */
export const mayOperate = () => !session.required || OPERATORS.includes(session.role);
