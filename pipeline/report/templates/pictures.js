/* The map: a point, a name in the list or a neighbour, chosen, shows its pictures and its nearest identities. */
(() => {
  const map = document.getElementById("map");
  if (!map) return;
  const { identities, near, pictures, unreadable } = JSON.parse(document.getElementById("map-data").textContent);
  const points = [...map.querySelectorAll(".point")];
  const places = points.map((point) => point.transform.baseVal[0].matrix);
  const shown = document.getElementById("map-shown");
  const search = document.getElementById("map-search");
  const names = document.getElementById("map-names");
  const broken = new Set(unreadable);
  let chosen = -1;

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const picture = (number, name, side) => element("img", {
    className: "thumb", src: pictures[number], width: side, height: side, loading: "lazy",
    alt: broken.has(number) ? `${name}: cannot be read` : name, title: name,
  });

  const show = (place) => {
    const [name, subspace, images] = identities[place];
    for (const point of points) {
      point.classList.remove("chosen", "near");
      point.tabIndex = -1;
    }
    chosen = place;
    points[place].tabIndex = 0;
    points[place].classList.add("chosen");
    points[place].parentNode.append(points[place]);
    const neighbours = near[place].map(([other, cosine]) => {
      const [theirs, , theirImages] = identities[other];
      if (other < points.length) points[other].classList.add("near");
      const inside = [
        ...theirImages.slice(0, 1).map((number) => picture(number, theirs, 48)),
        element("span", { className: "name", title: theirs, textContent: theirs }),
        element("span", { className: "fact", textContent: cosine.toFixed(3) }),
      ];
      const row = other < points.length
        ? element("button", { type: "button", onclick: () => show(other) }, ...inside)
        : element("div", {}, ...inside);
      return element("li", {}, row);
    });
    shown.replaceChildren(
      element("h3", { textContent: name, title: name, className: "name" }),
      element("div", { className: "strip" }, ...images.map((number) => picture(number, name, 80))),
      element("p", { className: "fact", textContent: `subspace ${subspace}; nearest in it, by cosine:` }),
      element("ol", {}, ...neighbours),
    );
    names.value = String(place);
  };

  const order = identities.slice(0, points.length).map((identity, place) => [identity[0], place])
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const list = () => {
    const wanted = search.value.trim().toLowerCase();
    names.replaceChildren(...order.filter(([name]) => name.toLowerCase().includes(wanted))
      .map(([name, place]) => element("option", { value: String(place), textContent: name })));
    names.value = String(chosen);
  };
  search.addEventListener("input", list);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && names.options.length) show(Number(names.options[0].value));
    if (event.key === "ArrowDown" && names.options.length) { names.focus(); names.selectedIndex = 0; show(Number(names.value)); event.preventDefault(); }
  });
  names.addEventListener("change", () => show(Number(names.value)));
  list();

  /* From a point to the nearest one that lies in the direction of an arrow key. */
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const next = (from, [right, down]) => {
    let best = -1, least = Infinity;
    places.forEach((place, number) => {
      const x = place.e - places[from].e, y = place.f - places[from].f;
      const ahead = x * right + y * down, aside = Math.abs(x * down) + Math.abs(y * right);
      const far = ahead + 2 * aside;
      if (number !== from && ahead > 0 && aside <= ahead * 2 && far < least) { best = number; least = far; }
    });
    return best;
  };
  const place = (event) => Number(event.target.closest(".point")?.dataset.point ?? -1);
  map.addEventListener("click", (event) => {
    const number = place(event);
    if (number >= 0) show(number);
    const button = event.target.closest(".legend button");
    if (!button) return;
    const pressed = button.getAttribute("aria-pressed") === "true";
    for (const other of map.querySelectorAll(".legend button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(!pressed));
    for (const point of points) point.classList.toggle("dim", !pressed && point.dataset.subspace !== button.dataset.subspace);
  });
  map.addEventListener("keydown", (event) => {
    const number = place(event);
    if (number < 0) return;
    if (event.key === "Enter" || event.key === " ") { show(number); event.preventDefault(); points[number].focus(); }
    if (ways[event.key]) {
      const to = next(number, ways[event.key]);
      if (to >= 0) { points[number].tabIndex = -1; points[to].tabIndex = 0; points[to].focus(); }
      event.preventDefault();
    }
  });
  show(0);
})();
