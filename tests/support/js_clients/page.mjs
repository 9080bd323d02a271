// Stock clients on a page: `command` is called from outside, `tell` is given from there.

import { makeCommands } from './commands.mjs'

const { client4, client40, tell } = window
const commands = makeCommands({ client4, client40 }, (document) => void tell(document))
window.command = (command) => commands[command.do](command)
