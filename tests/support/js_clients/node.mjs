// Stock clients in Node: a line of JSON for each command {id, do, …} in; {reply, value | error} and news out.

import { createInterface } from 'node:readline'
import { io as client4 } from 'client4'
import { io as client40 } from 'client40'
import { makeCommands } from './commands.mjs'

const say = (document) => process.stdout.write(`${JSON.stringify(document)}\n`)
const commands = makeCommands({ client4, client40 }, say)

async function run(command) {
  try {
    say({ reply: command.id, value: await commands[command.do](command) })
  } catch (error) {
    say({ reply: command.id, error: String(error) })
  }
}

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => void run(JSON.parse(line)))
lines.on('close', () => process.exit(0))
