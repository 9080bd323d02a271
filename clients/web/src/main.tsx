import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { dropToken, keepToken, readToken, roomInHash, type Tab } from './session/identity'
import { OutboxShelf } from './session/shelf'
import './style/index.css'
import { Client } from './sync/client'
import { Chat } from './ui/chat'
import { NamePage } from './ui/namepage'
import { explain } from './wire/errors'
import { makeSocket } from './wire/socket'

const tab: Tab = {
  storage: sessionStorage,
  hash: location.hash,
  replaceHash: (hash) => history.replaceState(null, '', `${location.pathname}#${hash}`),
}

function Page() {
  const [token, setToken] = useState(() => readToken(tab))
  const [client, setClient] = useState<Client | null>(null)
  const [reason, setReason] = useState<string | null>(null)

  useEffect(() => {
    if (token === null) return
    const forget = (why: string | null) => {
      dropToken(tab)
      setReason(why)
      setToken(null)
    }
    const socket = makeSocket(token, location.origin)
    const shelf = new OutboxShelf(sessionStorage)
    const next = new Client(socket, shelf, (error) => forget(explain(error)), roomInHash(location.hash))
    setClient(next)
    next.link.start()
    return () => {
      setClient(null)
      next.stop()
    }
  }, [token])

  if (token === null) {
    return (
      <NamePage
        reason={reason}
        onToken={(given) => {
          keepToken(tab, given)
          setToken(given)
        }}
      />
    )
  }
  if (client === null) return null
  const rename = () => {
    dropToken(tab)
    setReason(null)
    setToken(null)
  }
  return <Chat client={client} onRename={rename} />
}

const root = document.getElementById('app')
if (root !== null) render(<Page />, root)
