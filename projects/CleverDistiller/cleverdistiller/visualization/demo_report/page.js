'use strict';
const enlarged = document.getElementById('enlarged');
for (const button of document.querySelectorAll('.enlarge')) {
  button.addEventListener('click', () => {
    enlarged.replaceChildren(button.closest('figure').cloneNode(true));
    enlarged.showModal();
  });
}
enlarged.addEventListener('click', (event) => {
  if (!event.target.closest('figcaption')) enlarged.close();
});
if (navigator.clipboard) {
  for (const command of document.querySelectorAll('.command')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'copy';
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(command.querySelector('code').textContent);
      button.textContent = 'copied';
      setTimeout(() => { button.textContent = 'copy'; }, 1500);
    });
    command.append(button);
  }
}
