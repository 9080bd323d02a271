import { Component, type ComponentChild, type FunctionComponent, h } from 'preact'

/** A component that is drawn again only if a property was replaced. For what there is a lot of. */
export function pure<P extends object>(draw: (props: P) => ComponentChild): FunctionComponent<P> {
  class Pure extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      return differs(this.props, next) || differs(next, this.props)
    }
    override render(): ComponentChild {
      return draw(this.props as P)
    }
  }
  return (props: P) => h(Pure, props)
}

function differs(a: object, b: object): boolean {
  const other = b as Record<string, unknown>
  return Object.entries(a).some(([name, value]) => !Object.is(value, other[name]))
}
